"""data/golden/losses.json against the slow reference that wrote it, against rdcore, and with its checker."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from golden_reference import FILE, FUNCTIONS, entries, gradient

from rdcore.distill import CDSettings, DESettings, DistillationExperts
from rdcore.distill.followups.bd import draw_weights, follow_loss, ranks
from rdcore.distill.followups.cd import positives_loss, soft_label_loss
from rdcore.distill.followups.dcd import correction_loss, error_weights, places_in_list
from rdcore.distill.followups.dllm2rec import list_weights, weighted_loss
from rdcore.distill.followups.fit import feature_distance
from rdcore.distill.followups.freqd import feature_loss
from rdcore.distill.followups.ftd import full_topology_loss
from rdcore.distill.followups.hetcomp import agreement
from rdcore.distill.followups.hetcomp import early_loss as hetcomp_early
from rdcore.distill.followups.hetcomp import list_loss as hetcomp_list
from rdcore.distill.followups.htd import directions, entity_loss, group_loss
from rdcore.distill.followups.kd_ce import soft_cross_entropy
from rdcore.distill.followups.pckd import regulariser
from rdcore.distill.followups.rce_kd import draw_log_weights, rejuvenated_loss, taught_items
from rdcore.distill.followups.unkd import pair_loss
from rdcore.distill.rankdistil import binary_loss, coupled_loss, in_order, pairwise_loss
from rdcore.distill.rd import Discrepancy, Hybrid, Position, distillation_loss
from rdcore.distill.rrd import relaxed_loss

ENTRIES = {entry["id"]: entry for entry in json.loads(FILE.read_text(encoding="utf-8"))}
NOT_BUILT = {"rrd-as-printed"}  # a misprint; in the file for others


class Given:
    """Experts whose shares and outputs are known."""

    def __init__(self, share, outputs):
        self.share, self.outputs = share, outputs

    def alpha(self, shown):
        return self.share

    def __call__(self, vectors, share):
        return (share.unsqueeze(2) * self.outputs).sum(1)


def de(teacher, outputs, alpha, noise, temperature, root=False):
    share = torch.softmax(((alpha + 1e-10).log() + noise) / temperature, dim=1)
    settings = DESettings(M=2, selection="attention", distance="root" if root else "squared")
    method = DistillationExperts(settings, (1, 1), (1, 1))
    method.sums = {"user": torch.zeros(3)}
    return method._distance("user", Given(share, outputs), None, teacher, torch.ones(len(teacher)))


def rd(logits, weights=None, rank=None, scheme="", lam=1.0, mu=0.1, normalise=False):
    if weights is None:
        ours = {
            "position": lambda: Position(lam=lam, normalise=normalise),
            "discrepancy": lambda: Discrepancy(mu=mu, normalise=normalise),
            "hybrid": lambda: Hybrid(Position(lam=lam), Discrepancy(mu=mu), start_epoch=1, normalise=normalise),
        }[scheme]()
        weights = ours(len(logits), None if rank is None else rank[None], 1)
    return distillation_loss(weights.reshape(1, -1), logits[None]).sum()


def relaxed(interesting, uninteresting):
    return relaxed_loss(interesting[None], uninteresting[None]).sum()


def corrected(interesting, uninteresting):
    real = (torch.ones(1, len(each), dtype=torch.bool) for each in (interesting, uninteresting))
    return correction_loss(interesting[None], uninteresting[None], *real).sum()


def rankdistil(form, positive, negative, factor, teacher=None):
    positive, negative = positive[None], negative[None]
    if form == "C":
        return coupled_loss(torch.cat([positive, negative], 1), in_order(positive.shape[1], "cpu")).sum()
    loss = {"B": binary_loss, "P": pairwise_loss}[form]
    return loss(positive, negative, torch.tensor([factor]), None if teacher is None else teacher[None]).sum()


def kd_ce(teacher, logits, temperature, K=None):
    items = teacher.topk(K or len(teacher)).indices
    return soft_cross_entropy(teacher[items][None], logits[items][None], temperature).sum()


def rce_kd(teacher, logits, own, drawn, K, beta, temperature):
    ranking, drawn = (torch.tensor(each, dtype=torch.long)[None] for each in (own, drawn))
    items, other, overlap = taught_items(ranking, drawn, teacher.topk(K).indices[None])
    return rejuvenated_loss(teacher[items], logits[items], other, overlap, beta, temperature).sum()


def htd(teacher, student, group, level, own_members, positive_only, prototypes=None):
    group = torch.tensor(group, dtype=torch.long)
    constant = prototypes is not None
    G = group_loss(teacher, student, group, level, own_members, constant)
    return entity_loss(teacher, student, group, positive_only) + G


def unkd(better, worse, over_pairs):
    return pair_loss(better[None], worse[None], torch.ones(1, len(better), dtype=torch.bool), over_pairs).sum()


def cd(logits, teacher, temperature, shift):
    return soft_label_loss(torch.sigmoid((teacher + shift) / temperature)[None], logits[None]).sum()


def pckd(form, after, before, tau=None):
    return regulariser(after[None], before[None], form, tau).sum()


def freqd(filter, teacher, projected, cosine):
    return feature_loss(filter @ teacher, filter @ projected, cosine).sum()


def hetcomp(phase, logits, positives, top, unobserved):
    others = logits[[item for item in unobserved if item not in top]].logsumexp(0)
    compare = hetcomp_early if phase == "early" else hetcomp_list
    return compare(logits[positives][None], logits[top][None], others[None]).sum()


def features(teacher, projected, centred=False, unit=False):
    return feature_distance(teacher, projected, centred=centred, unit=unit)


def dllm2rec(logits, negative, distance, agrees, shares, form):
    weights = list_weights(distance[None], agrees[None] > 0, *shares.tolist())
    return weighted_loss(weights, logits[None], logits.new_tensor([negative]), form == "released").sum()


def bd(positive, logits, other, temperature, weight):
    base = torch.nn.functional.softplus(logits - positive)
    return (base + weight * follow_loss(logits, other, temperature)).sum()


def summary(weights):
    """Of one row, (1, n)."""
    return (weights[0].double() * torch.arange(1, 1 + weights.shape[1])).mean()


def bd_weights(student, teacher, sharpness, mildness, direction, which):
    both = draw_weights(ranks(student[None]), ranks(teacher[None]), sharpness, mildness, direction)
    return summary(both[which == "teacher"])


def cd_weights(sampling, places, **gamma):
    settings = CDSettings(sampling=sampling, depth=places, samples=1, **gamma)
    return summary(settings.log_weights().softmax(0)[None])


def rce_kd_weights(ranking, top, T, draw):
    return summary(draw_log_weights(ranking.long()[None], torch.tensor([top]), T, draw).exp())


def dcd_weights(student, sharpness, which):
    return summary(error_weights(places_in_list(student[None]), sharpness)[which == "over"])


def dllm2rec_weights(distance, agrees, shares):
    return summary(list_weights(distance[None], agrees[None] > 0, *shares.tolist()))


OURS = {
    "RD": rd, "RRD": relaxed, "IR-RRD": relaxed, "DCD": corrected, "DE": de, "CD": cd, "CD-positives": positives_loss,
    "RankDistil": rankdistil, "KD-CE": kd_ce,
    "RCE-KD": rce_kd, "FTD": full_topology_loss, "HTD": htd, "UnKD": unkd, "PCKD": pckd,
    "FreqD": freqd, "HetComp": hetcomp, "Fit": features, "VkD": features,
    "DLLM2Rec": dllm2rec, "BD": bd, "BD-weights": bd_weights, "CD-weights": cd_weights, "RCE-KD-weights": rce_kd_weights,
    "DCD-weights": dcd_weights, "DLLM2Rec-weights": dllm2rec_weights,
    "HetComp-agreement": lambda ranking, wanted: agreement(ranking[None], wanted[None]).sum(),
}  # fmt: skip
# Inputs that are no tensors of scores.
PLAIN = {"group", "own", "drawn", "K", "beta", "temperature", "factor", "shift", "positives", "top", "unobserved"}


def answer(entry: dict) -> dict:
    """What rdcore gives, in float64."""
    inputs = {
        name: torch.tensor(value, dtype=torch.float64) if isinstance(value, list) and name not in PLAIN else value
        for name, value in entry["inputs"].items()
    }
    of = entry.get("gradient_of")
    if of:
        inputs[of].requires_grad_()
    loss = OURS[entry["method"]](**inputs)
    return {"loss": loss.item()} | ({"gradient": torch.autograd.grad(loss, inputs[of])[0].tolist()} if of else {})


def test_the_file_is_what_the_reference_writes():
    assert entries() == list(ENTRIES.values())


def test_every_method_is_there():
    assert {entry["method"] for entry in ENTRIES.values()} == set(FUNCTIONS) == set(OURS)


@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in NOT_BUILT])
def test_our_losses_and_gradients(name):
    found, expected = answer(ENTRIES[name]), ENTRIES[name]["expected"]
    assert found["loss"] == pytest.approx(expected["loss"], abs=2e-6)
    if "gradient" in expected:
        np.testing.assert_allclose(found["gradient"], expected["gradient"], atol=2e-6)


def test_prototypes_in_the_file_are_the_means():
    entry = ENTRIES["htd-released"]["inputs"]
    student, group = np.array(entry["student"], float), np.array(entry["group"])
    assert entry["prototypes"] == [student[group == k].mean(0).tolist() for k in (0, 3, 4)]
    assert directions(torch.tensor(entry["prototypes"])).norm(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_gradients_are_differences():
    assert gradient(lambda x: x[0] ** 2 + 3 * x[1], {"x": [2.0, 1.0]}, "x") == pytest.approx([4, 3])


def test_the_discrepancy_of_an_item_that_the_student_ranks_as_high_is_nothing():
    """Rank 0 at the teacher's place 1: this item has no weight and no gradient, in any form with ranks."""
    for name in ("rd-discrepancy-raw", "rd-discrepancy-normalised", "rd-hybrid-raw", "rd-hybrid-normalised"):
        assert ENTRIES[name]["expected"]["gradient"][1] == 0 != ENTRIES["rd-position-raw"]["expected"]["gradient"][1]


def test_the_file_is_whole():
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    assert len(ENTRIES) == len(entries), "an id is there twice"
    for entry in entries:
        values = [np.asarray(value, float) for value in entry["expected"].values()]
        assert values and all(np.isfinite(value).all() for value in values), entry["id"]
        of, gradient = entry.get("gradient_of"), entry["expected"].get("gradient")
        assert (of is None) == (gradient is None), entry["id"]
        assert of is None or np.shape(gradient) == np.shape(entry["inputs"][of]), entry["id"]


def test_the_checker_has_thirty_lines_and_needs_numpy_alone():
    lines = FILE.with_name("check.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30
    imported = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"json", "sys", "pathlib", "numpy"}


def test_without_answers_the_checker_takes_the_files_own():
    done = subprocess.run([sys.executable, FILE.with_name("check.py")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{len(ENTRIES)} of {len(ENTRIES)} entries answered, 0 wrong\n")


@pytest.mark.parametrize(("moved", "status"), [(0.0, 0), (1e-5, 1), (float("nan"), 1), (None, 1)])
def test_the_checker_says_what_is_wrong(tmp_path, moved, status):
    """None: what other languages write for a number that is none."""
    answers = {name: answer(entry) for name, entry in ENTRIES.items() if name not in NOT_BUILT}
    answers["ftd"]["loss"] = None if moved is None else answers["ftd"]["loss"] + moved
    file = tmp_path / "answers.json"
    file.write_text(json.dumps(answers))
    done = subprocess.run([sys.executable, FILE.with_name("check.py"), file], capture_output=True, text=True)
    assert done.returncode == status and f"{len(answers)} of {len(ENTRIES)} entries answered, {status} wrong" in done.stdout
    assert ("ftd, loss" in done.stdout) == bool(status)


def test_the_checker_names_what_answers_nothing(tmp_path):
    """A misspelt id or field, a number where the gradient is a table: each would otherwise count as answered, none as wrong."""
    answers = {"fdt": {"loss": 2.0}, "ftd": {"lost": 2.0}, "cd": {"gradient": 0}}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    checker = [sys.executable, FILE.with_name("check.py"), tmp_path / "answers.json"]
    done = subprocess.run(checker, capture_output=True, text=True)
    *lines, last = done.stdout.splitlines()
    assert done.returncode == 1 and last == f"3 of {len(ENTRIES)} entries answered, 3 wrong"
    assert lines[:2] == [f"{each}: losses.json has no such value" for each in ("fdt, loss", "ftd, lost")]
    assert "cd, gradient: 0 instead of" in lines[2]
