"""Amazon Beauty against the file, read in another way."""

from published import load_or_skip

from rdcore.data import leave_one_out
from rdcore.datasets import fetch


def test_it_is_the_file_row_by_row():
    data = load_or_skip("amazon-beauty")
    assert (data.n_users, data.n_items, len(data), data.counts().min()) == (40_226, 54_542, 353_962, 5)
    (file,) = fetch("amazon-beauty")
    rows = zip(data.user_ids[data.users()].tolist(), data.item_ids[data.items].tolist(), strict=True)
    assert "".join(f"{user} {item}\n" for user, item in rows) == file.read_text()
    parts = leave_one_out(data)  # nobody has an item twice
    assert len(parts.test) == len(parts.validation) == 40_226
