"""The runs of notebook 12, and its picture."""

import matplotlib.pyplot as plt
import pytest
from words import smallest_words

from studies.common import style
from studies.common.profiles import PROFILES
from studies.followups import walk
from studies.notebooks import pictures


@pytest.mark.parametrize("role", walk.PLANS["small"].methods)
def test_every_weight_is_scaled_and_nothing_else(role):
    settings = walk.PLANS["small"].methods[role]
    changed = walk.scaled(settings, 20.0)
    assert walk.weight(changed) == pytest.approx(20 * walk.weight(settings), rel=0.34), "one digit"
    for name in ("item_weight", "users"):
        if hasattr(settings, name) and role in ("DCD", "IR-RRD"):
            assert getattr(changed, name) != getattr(settings, name)
    again = walk.scaled(changed, walk.weight(settings) / walk.weight(changed))
    assert type(again) is type(settings) and walk.weight(again) == pytest.approx(walk.weight(settings))


def test_a_weight_has_one_digit():
    assert walk.weight(walk.scaled(walk.PLANS["smoke"].methods["FTD"], 3.456)) == 0.003


@pytest.mark.parametrize("name", walk.PLANS)
def test_teacher_and_student_are_those_of_de_rrd(name):
    ours, theirs = walk.PLANS[name], PROFILES[name].derrd[0]
    for of in ("teacher", "student"):
        assert getattr(ours, of)("L", 1).key == getattr(theirs, of)("L", 1).key


def test_every_method_has_a_look_of_its_own():
    assert set(walk.PLANS["small"].methods) <= set(style.ROLES)


def test_the_picture_puts_the_best_on_top_and_the_students_in_a_band():
    reached = {"T": 0.5, "S": 0.2, "S, seed 2": 0.3, "FTD": 0.25, "CD": 0.4}
    with plt.rc_context():
        style.use_style()
        fig = pictures.around_the_student(reached, ["FTD", "CD"])
        ax = fig.axes[0]
        assert [label.get_text() for label in ax.get_yticklabels()] == ["CD", "FTD"]
        band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
        assert (band.x0, band.x1) == pytest.approx((0.2, 0.3))
        assert smallest_words(fig) >= 8
        assert {text.get_text() for text in fig.legends[0].texts} == {"student alone, 2 seeds", "teacher"}
    plt.close("all")
