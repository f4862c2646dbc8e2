"""FreqD: its golden values, graph and filter against dense matrices, and what must hold for any method."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from small_contract import DATA, STUDENTS, holds, with_opinions

from rdcore.data.sampling import stream
from rdcore.distill import Batch, FreqDSettings
from rdcore.distill.followups.freqd import feature_loss, filter_of, nearest_graph
from rdcore.train.loop import training_data

EXAMPLES = {
    "FreqD": FreqDSettings(neighbours=3, projectors=2, hidden=5),
    "FreqD-squared": FreqDSettings(neighbours=3, projectors=1, hidden=5, keep=1.0, dropout=0.0, cosine=False, weight=0.05),
}
DRAW_NOTHING = {"FreqD-squared"}
pytestmark = pytest.mark.usefixtures("one_thread")
PATH = sparse.csr_matrix(np.array([[1.0, 0], [1, 1], [0, 1]]))  # nodes 0-1-2: neighbours have one thing in common
T = torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=torch.float64)
S = torch.tensor([[0.5, 0], [0, 0.5], [1, 0]], dtype=torch.float64)


def whole(chosen, neighbours, alpha) -> torch.Tensor:
    """H as a dense matrix, out of the sparse filter."""
    n = chosen.shape[0]
    return filter_of(nearest_graph(chosen, neighbours), torch.arange(n), alpha)(torch.eye(n, dtype=torch.float64))


def slow(chosen, neighbours, alpha) -> np.ndarray:
    """H by dense loops."""
    R = np.asarray(chosen.todense())
    n = len(R)
    G = np.zeros((n, n))
    for i in range(n):
        common = [(-(R[i] @ R[j]), j) for j in range(n) if j != i and R[i] @ R[j] > 0]
        for _, j in sorted(common)[:neighbours]:
            G[i, j] = 1
    G = (G + G.T) / 2
    degree = np.where(G.sum(1) > 0, G.sum(1), 1)
    return alpha * G / np.sqrt(np.outer(degree, degree)) + (1 - alpha) * np.eye(n)


def test_golden_values():
    """Plain Python after the released code, an identity for the projector."""
    H = whole(PATH, 2, 0.5)
    expected = [[0.5, 0.35355339, 0], [0.35355339, 0.5, 0.35355339], [0, 0.35355339, 0.5]]
    assert H.flatten().tolist() == pytest.approx(sum(expected, []), abs=1e-7)
    squared, apart = (feature_loss(H @ T, H @ S, cosine) for cosine in (False, True))
    assert squared.tolist() == pytest.approx([0.09375, 0.3955267, 0.4580267], abs=1e-7)
    assert apart.tolist() == pytest.approx([0, 0.09458915, 0.23583894], abs=1e-7)
    assert (squared.sum().item(), apart.sum().item()) == pytest.approx((0.94730339, 0.33042809), abs=1e-7)
    assert feature_loss(T, S, False).sum().item() == pytest.approx(1.5)


CHOSEN = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(0, 2**31))


def drawn(shape):
    n, m, seed = shape
    return sparse.csr_matrix((np.random.default_rng(seed).random((n, m)) < 0.4).astype(float))


@given(CHOSEN, st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_the_filter_is_the_dense_one(shape, neighbours, alpha):
    """Also for some nodes alone; symmetric, its eigenvalues in [1 - 2 alpha, 1]; one who shares nothing keeps 1 - alpha."""
    chosen = drawn(shape)
    H, expected = whole(chosen, neighbours, alpha), slow(chosen, neighbours, alpha)
    np.testing.assert_allclose(H.numpy(), expected, atol=1e-6)
    values = np.linalg.eigvalsh(expected)
    assert values.min() >= 1 - 2 * alpha - 1e-9 and values.max() <= 1 + 1e-9
    n = len(expected)
    nodes = torch.randperm(n)[: (n + 1) // 2]
    some = filter_of(nearest_graph(chosen, neighbours), nodes, alpha)
    vectors = torch.randn(n, 3, dtype=torch.float64)
    np.testing.assert_allclose(some(vectors[some.needed]).numpy(), expected[nodes.numpy()] @ vectors.numpy(), atol=1e-6)


def test_blocks_of_rows_change_nothing(monkeypatch):
    chosen = drawn((9, 6, 3))
    before = whole(chosen, 2, 0.5)
    monkeypatch.setattr("rdcore.distill.followups.freqd.BLOCK", 2)
    assert torch.equal(before, whole(chosen, 2, 0.5))


def test_edges_are_kept_at_random_and_in_the_mean_the_filter_stays():
    graph, nodes, rng = nearest_graph(drawn((9, 6, 3)), 3), torch.arange(9), torch.Generator().manual_seed(0)
    vectors = torch.randn(9, 2, dtype=torch.float64)
    H = filter_of(graph, nodes, 0.5)
    several = []
    for _ in range(3000):
        part = filter_of(graph, nodes, 0.5, 0.5, rng)
        several.append(part(vectors[part.needed]))
    several = torch.stack(several)
    assert several.std(0).max() > 0.1
    torch.testing.assert_close(several.mean(0), H(vectors[H.needed]), atol=0.06, rtol=0)


@pytest.mark.parametrize("cosine", [True, False])
def test_gradient(cosine):
    H = filter_of(nearest_graph(drawn((6, 5, 1)), 2), torch.tensor([4, 0, 3]), 0.4)
    t, s = torch.randn(2, len(H.needed), 3, dtype=torch.float64).unbind()
    assert torch.autograd.gradcheck(lambda s: feature_loss(H(t), H(s), cosine), (s.requires_grad_(),))


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_the_loss_is_that_of_dense_matrices(alpha):
    rest = {} if alpha == 0 else {"neighbours": 3, "keep": 1.0}
    settings = FreqDSettings(alpha=alpha, projectors=2, hidden=5, dropout=0.0, cosine=False, weight=0.3, **rest)
    torch.manual_seed(3)
    model, teacher = STUDENTS["BPR"].build(DATA.n_users, DATA.n_items), with_opinions("BPR")
    instances = training_data(DATA, 0, "cpu")
    method = settings.build(model, teacher)
    method.prepare(teacher, instances)
    method.begin_epoch(model, 1, 1, stream(1, "distillation", 1))
    index = torch.arange(30)
    negatives = torch.arange(60).view(30, 2) % 17
    batch = Batch(index, instances.queries[index], instances.target[index], negatives)
    loss = method.loss(model, batch, 0, model.encode(batch.queries)).item()
    R = np.zeros((DATA.n_users, DATA.n_items))
    for user in range(DATA.n_users):
        R[user, DATA.items[DATA.offsets[user] : DATA.offsets[user + 1]]] = 1
    expected = 0.0
    sides = [
        (R, teacher.user.weight, model.user.weight, method.users, [(1, batch.queries.user)]),
        (R.T, teacher.item_factors.weight, model.item_factors.weight, method.items,
         [(0.5, batch.target), (0.5, negatives.flatten())]),
    ]  # fmt: skip
    with torch.no_grad():
        for matrix, shown, own, projector, parts in sides:
            H = torch.from_numpy(slow(sparse.csr_matrix(matrix), settings.neighbours, alpha)).float()
            rows = (H @ shown - H @ projector(own)).square().sum(1)
            expected += sum(factor * rows[ids.unique()].sum().item() for factor, ids in parts)
    assert loss == pytest.approx(0.3 * expected, rel=1e-5)


def test_it_teaches_neumf_and_its_projectors_alone():
    holds(EXAMPLES["FreqD"], "NeuMF", "BPR", experts=True)


def test_settings_are_checked():
    for wrong in ({"alpha": 2}, {"keep": 0}, {"dropout": 1}, {"neighbours": 0}, {"projectors": 0}, {"cosine": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FreqDSettings(**wrong)
    with pytest.raises(ValueError, match="keep=1.0 has no effect with alpha=0"):
        FreqDSettings(alpha=0, keep=1.0)
    with pytest.raises(ValueError, match="FreqD smooths .* the student .Caser. has one"):
        FreqDSettings().build(STUDENTS["Caser"].build(DATA.n_users, DATA.n_items), with_opinions("BPR"))
