"""All libraries of CiteULike against the file, read in another way."""

import numpy as np
from published import load_or_skip

from rdcore.datasets import CATALOG, fetch, load


def test_it_is_the_file_in_a_drawn_order():
    data = load_or_skip("citeulike-users")
    assert (data.n_users, data.n_items, len(data)) == (7947, 25_584, 134_860)
    (file,) = fetch("citeulike-users")
    assert file.parent.name == CATALOG["citeulike-users"].place == "citeulike"  # the folder of the mirror
    for user, line in enumerate(file.read_text().splitlines()):
        own = data.item_ids[data.items[slice(*data.offsets[user : user + 2])]]
        assert sorted(own.tolist()) == sorted(map(int, line.split()[1:]))


def test_five_items_leave_the_users_of_de_rrd():
    """DE-RRD's split has 5,219 users with 125,580 interactions; here items of fewer than 5 users go as well."""
    everybody = load("citeulike-users")
    assert np.count_nonzero(everybody.counts() >= 5) == 5219 and everybody.counts()[everybody.counts() >= 5].sum() == 125_580
    frequent = load("citeulike-users", min_actions=5)
    assert min(frequent.counts().min(), frequent.item_counts().min()) == 5 and frequent.name.endswith("(min_actions=5)")
