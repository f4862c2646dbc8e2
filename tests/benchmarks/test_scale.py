"""docs/scale.md: its numbers are those of rdcore's own models and arrays."""

import pytest
import torch

from benchmarks import scale
from rdcore.distill.rd import RDSettings
from rdcore.models import CaserSettings
from rdcore.train.loop import Training, make_optimizer, training_data


def test_the_page_has_the_tables_as_they_are_worked_out_now():
    page = scale.DOCUMENT.read_text(encoding="utf-8")
    assert page.split(scale.BEGIN)[1].split(scale.END)[0].strip() == scale.text(), "python benchmarks/scale.py --write"


def test_training_holds_four_times_the_weights_on_every_row():
    """Weights, dense gradients and two moments: counted on a real model after a real step."""
    settings, data = CaserSettings(dim=8), scale.small_data()
    model = settings.build(data.n_users, data.n_items)
    optimizer = make_optimizer(model, None, Training())
    queries = training_data(data, model.window, "cpu", full_windows=model.full_windows).queries[:4]
    model.score(model.encode(queries), torch.zeros(4, 1, dtype=torch.long)).sum().backward()
    optimizer.step()
    weights = sum(p.nbytes for p in model.parameters())
    assert weights == 4 * scale.parameters(settings, data.n_users, data.n_items)
    moments = sum(v.nbytes for state in optimizer.state.values() for name, v in state.items() if name.startswith("exp_avg"))
    gradients = sum(p.grad.nbytes for p in model.parameters())
    assert moments + gradients == 3 * weights


def test_the_sizes_it_takes_for_defaults_are_the_defaults():
    assert (scale.BATCH, scale.NEGATIVES) == (Training().batch_size, Training().negatives)
    assert (scale.WINDOW, scale.K) == (CaserSettings(dim=8).window, RDSettings().K)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.091, "0.091 s"), (119, "119 s"), (120, "2 minutes"), (86400 * 58, "58 days"), (7e7, "2 years")]
)
def test_a_duration_is_said_in_its_unit(seconds: float, said: str):
    assert scale.duration(seconds) == said
