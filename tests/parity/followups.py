"""The later methods and the code of their authors, trained side by side on the same draws.

Our loop runs as it always does. In each of its steps the released functions get the same batch, lists, samples and
noise, and their own copy of the weights takes the step that their loss asks for. Their loops ask for a GPU and for
data folders, so the sum of base loss and distillation is written here, in `SIDES`, one function a repository.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from unittest import mock

import torch
from parity import derrd, official
from torch import Tensor, nn

from rdcore.datasets.synthetic import generate
from rdcore.distill import (
    BDSettings,
    DESettings,
    FreqDSettings,
    FTDSettings,
    HetCompSettings,
    HTDSettings,
    IRRRDSettings,
    PCKDSettings,
    RCEKDSettings,
    RRDSettings,
    Trajectories,
    UnKDSettings,
)
from rdcore.distill import de as ours_de
from rdcore.distill.followups import htd as ours_htd
from rdcore.distill.followups import pckd as ours_pckd
from rdcore.train import loop as ours_loop

# What the released modules import and the compared functions do not use.
UNUSED = ("mlflow", "sklearn", "sklearn.decomposition", "sklearn.gaussian_process",
          "sklearn.gaussian_process.kernels", "torch_cluster")  # fmt: skip
LISTS = RRDSettings(K=5, L=5, depth=20, weight=0.05)
EXPERTS = DESettings(M=3, weight=0.05, anneal_epochs=10)


@dataclass(frozen=True)
class Compared:
    """One comparison."""

    repository: str
    checkout: str
    """Folder of the checkout, under what the variable names."""
    wanted: tuple[str, ...]
    """Modules of it."""
    settings: object
    """Ours."""
    reduction: str = "sum"
    checkpoints: int = 1
    """How many the teacher has."""


WZ, RCE = ("woriazzc/KDs", "KDs"), ("woriazzc/RCEKD", "RCEKD")
TD = ("SeongKu-Kang/Topology_Distillation_KDD21", "Topology_Distillation_KDD21", ("model",))
HETCOMP = HetCompSettings(K=10, cut=5, every=1, weight=0.05)
METHODS = {
    "FTD": Compared(*TD, FTDSettings(weight=0.01)),
    "HTD": Compared(*TD, HTDSettings(K=3, weight=0.05, anneal_epochs=10)),
    "HTD prototypes": Compared(*TD, HTDSettings(K=3, weight=0.05, anneal_epochs=10, level="prototypes", as_released=True)),
    "IR-RRD": Compared("SeongKu-Kang/DE-RRD_CIKM20", "DE-RRD_CIKM20", ("Models.BPR", "Utils.loss"),
                       IRRRDSettings(users=LISTS, K=3, L=3, depth=10, weight=0.02)),
    "UnKD": Compared("chengang95/UnKD", "UnKD/UnKD", ("sample", "model"), UnKDSettings(groups=2, depth=40), "mean"),
    "UnKD as released": Compared("chengang95/UnKD", "UnKD/UnKD", ("sample", "model"),
                                 UnKDSettings(groups=2, depth=40, as_released=True), "mean"),
    "RCE-KD": Compared(*RCE, ("modeling.KD.playground",), RCEKDSettings(K=5, L=6, depth=20, weight=0.5)),
    "HetComp": Compared("SeongKu-Kang/HetComp_WWW23", "HetComp_WWW23", ("Models.HetComp",), replace(HETCOMP, early=1.0),
                        checkpoints=3),
    "HetComp list phase": Compared("SeongKu-Kang/HetComp_WWW23", "HetComp_WWW23", ("Models.HetComp",), HETCOMP),
    "HetComp port": Compared(*RCE, ("modeling.KD.baseline",), HETCOMP, checkpoints=3),
    "PCKD list": Compared(*WZ, ("modeling.KD.cf.playground",), PCKDSettings(experts=EXPERTS, depth=20)),
    "PCKD pair": Compared(*WZ, ("modeling.KD.cf.playground",), PCKDSettings(experts=EXPERTS, depth=20, form="pair", Q=2)),
    "FreqD": Compared(*WZ, ("modeling.KD.cf.playground",), FreqDSettings(keep=1.0, dropout=0.0, projectors=2, weight=0.05)),
    "FreqD squared": Compared(*WZ, ("modeling.KD.cf.playground",),
                              FreqDSettings(keep=1.0, dropout=0.0, projectors=2, weight=0.05, cosine=False)),
    "BD": Compared("WonbinKweon/BD_WWW2021", "BD_WWW2021", (), BDSettings(sharpness=0.05, mildness=0.01, every=2)),
}  # fmt: skip


class Vectors(nn.Module):
    """What the released distillations ask of a model, for user and item vectors."""

    def __init__(self, users: Tensor, items: Tensor):
        super().__init__()
        self.user_emb, self.item_emb = (nn.Embedding.from_pretrained(table.clone(), freeze=False) for table in (users, items))
        self.embedding_dim = users.shape[1]
        self.dataset = SimpleNamespace(num_users=len(users), num_items=len(items))

    def get_user_embedding(self, users: Tensor) -> Tensor:
        return self.user_emb(users)

    def get_item_embedding(self, items: Tensor) -> Tensor:
        return self.item_emb(items)

    def get_all_embedding(self) -> tuple[Tensor, Tensor]:
        return self.user_emb.weight, self.item_emb.weight

    def get_ratings(self, users: Tensor) -> Tensor:
        return self.user_emb(users) @ self.item_emb.weight.T

    def get_all_ratings(self) -> Tensor:
        return self.user_emb.weight @ self.item_emb.weight.T

    def forward_multi_items(self, users: Tensor, items: Tensor) -> Tensor:
        return (self.user_emb(users).unsqueeze(1) * self.item_emb(items)).sum(2)

    def base(self, users: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Their BPR loss, a sum."""
        u, i, j = self.user_emb(users), self.item_emb(positive), self.item_emb(negative)
        return -((u * i).sum(1) - (u * j).sum(1)).sigmoid().log().sum()


@dataclass
class Side:
    """A released method that is ready to be trained."""

    trained: list[Tensor]
    tables: tuple[Tensor, Tensor]
    """The student's users and items."""
    loss: Callable[[Tensor, Tensor, Tensor, list[Tensor]], Tensor]
    """Of users, positives, negatives and our noise of the step."""


@contextlib.contextmanager
def stubs() -> Iterator[None]:
    """Empty modules for those of `UNUSED` that are not there."""
    made = {name for name in UNUSED if name not in sys.modules}
    sys.modules.update({name: mock.MagicMock() for name in made})
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


@contextlib.contextmanager
def on_cpu(wanted: Compared) -> Iterator[list[ModuleType]]:
    """The modules, with `.cuda()` without effect."""
    stay = mock.patch.object(torch.Tensor, "cuda", lambda self, *given: self)
    moved = mock.patch.object(nn.Module, "cuda", lambda self, *given: self)
    arguments = mock.patch.object(sys, "argv", ["parity"])  # UnKD's world.py reads them
    with contextlib.ExitStack() as stack:
        with stubs(), arguments:
            modules = stack.enter_context(official.modules(wanted.checkout, *wanted.wanted))
        stack.enter_context(stay)
        stack.enter_context(moved)
        yield modules


@contextlib.contextmanager
def fed(noise: list[Tensor]) -> Iterator[None]:
    """torch's Gumbel draws are ours, one after the other."""
    parts = list(noise)

    class Fed:
        def __init__(self, *given):
            pass

        def sample(self, size):
            made = parts.pop(0)
            assert made.shape == size, "ours and theirs look at other entities"
            return made

    with mock.patch.object(torch.distributions, "Gumbel", Fed):
        yield
    assert not parts, "ours drew more noise than theirs"


def given_experts(own, networks, select) -> None:
    """Our experts' weights in their separate networks."""
    with torch.no_grad():
        select[0].load_state_dict(own.select.state_dict())
        for m, expert in enumerate(networks):
            net = getattr(expert, "net", None) or expert.mlp
            for layer, w, b in ((net[0], own.w1, own.b1), (net[2], own.w2, own.b2)):
                layer.weight.copy_(w[m].T)
                layer.bias.copy_(b[m])


def topology(modules, student, teacher, method) -> Side:
    """FTD and HTD: run_FTD and run_HTD of run.py."""
    (model,), settings = modules, method.settings
    sizes = (len(student[0]), len(student[1]), *(table.clone() for table in teacher), "cpu", student[0].shape[1])
    if isinstance(settings, FTDSettings):
        made = model.FTD(*sizes)
    else:
        made = model.HTD(*sizes, settings.K, "first" if settings.level == "prototypes" else "second")
        for own, networks, select in ((method.users, made.user_f, made.user_v), (method.items, made.item_f, made.item_v)):
            given_experts(own, networks, select)
    with torch.no_grad():
        made.user_emb.weight.copy_(student[0])
        made.item_emb.weight.copy_(student[1])

    def loss(user, positive, negative, noise):
        users, items = user.unique(), torch.cat([positive, negative]).unique()
        base = made.get_loss(made(user, positive, negative))
        if isinstance(settings, FTDSettings):
            return base + made.get_TD_loss(users, items) * settings.weight
        made.T = method.temperature
        with fed(noise):
            GA = made.get_GA_loss(users, is_user=True) + made.get_GA_loss(items, is_user=False)
        TD = made.get_TD_loss(users, items)
        return base + settings.weight * (TD * settings.gamma + GA * (1 - settings.gamma))

    return Side([p for p in made.parameters() if p.requires_grad], (made.user_emb.weight, made.item_emb.weight), loss)


def item_side(modules, student, teacher, method) -> Side:
    """IR-RRD: LOO_IR_RRD_run of run.py."""
    (bpr, losses), settings = modules, method.settings
    with contextlib.redirect_stdout(None):
        made = bpr.BPR(len(student[0]), len(student[1]), student[0].shape[1], None)
    with torch.no_grad():
        made.user_emb.weight.copy_(student[0])
        made.item_emb.weight.copy_(student[1])

    def loss(user, positive, negative, noise):
        lists = method.users.sample[0][user.unique()].long()
        K = settings.users.K
        scores = [made.forward_multi_items(user.unique(), items) for items in (lists[:, :K], lists[:, K:])]
        of_users = losses.relaxed_ranking_loss(*scores)
        items = lists.flatten().unique()
        assert (method.row[items] >= 0).all(), "an item without a list"
        users = method.drawn[method.row[items]].long()
        scores = [made.forward_multi_users(part, items) for part in (users[:, : settings.K], users[:, settings.K :])]
        of_items = losses.relaxed_ranking_loss(*scores)
        base = made.get_loss(made(user, positive, negative))
        return base + settings.users.weight * of_users + settings.weight * of_items

    return Side(list(made.parameters()), (made.user_emb.weight, made.item_emb.weight), loss)


def unbiased(modules, student, teacher, method) -> Side:
    """UnKD: Distill_DNS of Procedure.py, without the decay of the batch's vectors."""
    (sample, model), settings = modules, method.settings
    counts = SimpleNamespace(n_users=len(student[0]), m_items=len(student[1]))
    made = model.BPRMF({"latent_dim_rec": student[0].shape[1]}, counts)
    with torch.no_grad():
        made.embedding_user.weight.copy_(student[0])
        made.embedding_item.weight.copy_(student[1])

    def loss(user, positive, negative, noise):
        assert method.real.all(), "a user without a pair"
        better, worse = method.better.long(), method.worse.long()
        drawn = SimpleNamespace(student=made, teacher=None, pos_items=better, neg_items=worse, item_tag=better)
        followed = sample.UnKD.sample_diff(drawn, user, positive, negative)
        return made.bpr_loss(user, positive, negative)[0] + settings.weight * followed

    return Side(list(made.parameters()), (made.embedding_user.weight, made.embedding_item.weight), loss)


def arguments(settings, **more) -> SimpleNamespace:
    """Their settings object."""
    return SimpleNamespace(lmbda=settings, lr=0, wd=0, ablation=False, verbose=False, dataset="", T_backbone="", **more)


def rejuvenated(modules, student, teacher, method) -> Side:
    """RCE-KD: BaseKD4Rec.forward with class RCEKD."""
    (playground,), settings, made = modules, method.settings, Vectors(*student)
    asked = arguments(settings.weight, mkd_tau=settings.temperature, mkd_K=settings.K, mkd_beta=settings.beta,
                      mkd_T=settings.T, mkd_L=settings.L, mkd_mxK=settings.depth, sample_rank=False)  # fmt: skip
    released = playground.RCEKD(asked, Vectors(*teacher), made)

    def loss(user, positive, negative, noise):
        released.itemS, released.interesting_items, listed = method.items.split([settings.K, settings.L, settings.K], dim=1)
        assert torch.equal(listed, released.T_topk_dict), "other lists of the teacher"
        return made.base(user, positive, negative) + settings.weight * released.get_loss(user)

    return Side(list(made.parameters()), made.get_all_embedding(), loss)


def heterogeneous(modules, student, teacher, method) -> Side:
    """HetComp's two losses: of the authors' class HetComp_MF, or of the port's, which sums over rows and doubles the
    early one. What is taught to whom is ours."""
    (module,), settings = modules, method.settings
    made = Vectors(*student)
    row, item = method.seen.of(torch.arange(len(student[0])))
    mask = torch.zeros(len(student[0]), len(student[1]))
    mask[row, item] = 1.0
    port = not hasattr(module, "HetComp_MF")
    if port:
        released = module.HetComp.__new__(module.HetComp)
        nn.Module.__init__(released)
        released.student, released.user_mask, released.pos_items = made, mask.to_sparse(), method.positives
        released.num_ckpt = 2
    else:
        released = module.HetComp_MF(len(student[0]), len(student[1]), student[0].shape[1], "cpu")
        released.user_emb, released.item_emb = made.user_emb, made.item_emb

    def loss(user, positive, negative, noise):
        if port:
            released.top_items, released.v_result = method.top, 0 if method.is_early else 1
            taught = released.get_loss(user)
        else:
            given = user, method.positives[user], method.top[user], mask[user]
            taught = released.get_KD_loss(*given, not method.is_early)
        return made.base(user, positive, negative) + settings.weight * taught

    return Side(list(made.parameters()), made.get_all_embedding(), loss)


def consistent(modules, student, teacher, method) -> Side:
    """PCKD: BaseKD4Rec.forward with class CPD. Where they draw noise for every row of a user, each gets ours."""
    (playground,), settings, made = modules, method.settings, Vectors(*student)
    asked = arguments(
        settings.experts.weight, epochs=10, de_end_T=1.0, de_anneal_size=1.0, de_num_experts=settings.experts.M,
        cpd_alpha=settings.alpha, cpd_sample_type="rank", cpd_reg_type=settings.form, cpd_guide_type="teacher",
        cpd_Q=settings.Q, cpd_tau_ce=settings.tau, cpd_T=settings.T, cpd_mxK=settings.depth,
    )  # fmt: skip
    with contextlib.redirect_stdout(None):
        released = playground.CPD(asked, Vectors(*teacher), made)
    own = method.features
    for experts, networks, select in (
        (own.users, released.user_experts, released.user_selection_net),
        (own.items, released.item_experts, released.item_selection_net),
    ):
        given_experts(experts, networks, select)

    def loss(user, positive, negative, noise):
        released.current_T, released.sampled_items = own.temperature, method.items.long()
        users, place = user.unique(return_inverse=True)
        of_users, of_items, again, listed = noise
        listed = listed.view(len(users), settings.Q, -1)[place]
        rows = [listed[:, 0], listed[:, 1]] if settings.form == "pair" else [listed.flatten(0, 1)]
        split = of_items.split([len(positive.unique()), len(negative.unique())])
        with fed([of_users, *split, again[place], *rows]):
            taught = released.get_loss(user, positive, negative)
        return made.base(user, positive, negative) + settings.experts.weight * taught

    trained = [p for p in released.parameters() if p.requires_grad]
    return Side(trained, made.get_all_embedding(), loss)


def frequency(modules, student, teacher, method) -> Side:
    """FreqD: BaseKD4Rec.forward with class FreqD, on our graphs: theirs leave ties open."""
    (playground,), settings, made = modules, method.settings, Vectors(*student)
    made.dataset.train_mat = torch.eye(len(student[0]), len(student[1])).to_sparse()
    asked = arguments(
        settings.weight, freqd_norm=settings.cosine, freqd_alpha=settings.alpha, freqd_K=settings.neighbours,
        freqd_keep_prob=settings.keep, freqd_dropout_rate=settings.dropout, hidden_dim_ratio=settings.projectors,
    )  # fmt: skip
    nothing = mock.patch.multiple(playground, load_pkls=lambda *files: (False, None), dump_pkls=lambda *files: None)
    with nothing:
        released = playground.FreqD(asked, Vectors(*teacher), made)
    for own, projector in ((method.users, released.projector_u), (method.items, released.projector_i)):
        for part, expert in zip(own.parts, projector.experts, strict=True):
            linear = [layer for layer in part if isinstance(layer, nn.Linear)]
            theirs = [layer for layer in expert.mlp if isinstance(layer, nn.Linear)]
            for one, other in zip(linear, theirs, strict=True):
                other.load_state_dict(one.state_dict())
    graphs = []
    for graph, n in zip(method.graphs, (len(student[0]), len(student[1])), strict=True):
        graphs.append(torch.sparse_csr_tensor(graph.offsets, graph.column, graph.weight, (n, n)).to_sparse_coo().coalesce())
    released.Graph_u, released.Graph_i = graphs

    def loss(user, positive, negative, noise):
        return made.base(user, positive, negative) + settings.weight * released.get_loss(user, positive, negative)

    trained = [p for p in released.parameters() if p.requires_grad]
    return Side(trained, made.get_all_embedding(), loss)


def bidirectional(modules, student, teacher, method) -> Side:
    """BD: the step of the notebook for BPR (cell 11), with its class (cell 5)."""
    notebook = json.loads((official.checkout("BD_WWW2021") / "BD_WWW2021_BPR_CiteULike.ipynb").read_text(encoding="utf-8"))
    cell = next("".join(c["source"]) for c in notebook["cells"] if "class BPR(" in "".join(c["source"]))
    known = {"nn": nn, "torch": torch}
    exec(compile(cell, "BD_WWW2021", "exec"), known)
    settings, models = method.settings, []
    for users, items in (student, teacher):
        made = known["BPR"](users.shape[1], 1, torch.zeros(len(users), len(items)))
        with torch.no_grad():
            made.u_emb.weight.copy_(users)
            made.i_emb.weight.copy_(items)
        models.append(made)
    S, T = models
    follow = nn.BCEWithLogitsLoss(reduction="sum")

    def loss(user, positive, negative, noise):
        a, c = (table[method.batch.index, method.column].long() for table in (method.for_student, method.for_teacher))
        (_, t_a), (s_i, s_a) = T(user, positive, a), S(user, positive, a)
        (_, s_c), (t_i, t_c) = S(user, positive, c), T(user, positive, c)
        label_T, label_S = (torch.sigmoid(s / settings.temperature).detach() for s in (s_c, t_a))
        of_T = -torch.log(torch.sigmoid(t_i - t_c)).sum() + settings.weight * follow(t_c, label_T)
        of_S = -torch.log(torch.sigmoid(s_i - s_a)).sum() + settings.weight * follow(s_a, label_S)
        return of_T + of_S

    return Side([*T.parameters(), *S.parameters()], (S.u_emb.weight, S.i_emb.weight), loss)


SIDES = {
    "FTD": topology, "HTD": topology, "IR-RRD": item_side, "UnKD": unbiased, "RCE-KD": rejuvenated,
    "HetComp": heterogeneous, "PCKD": consistent, "FreqD": frequency, "BD": bidirectional,
}  # fmt: skip


def compare(name: str, *, steps: int, n: int = 300, batch: int = 100) -> dict[str, float]:
    """Trains both for about ``steps`` steps: steps taken; the largest relative difference of a step's loss; that of the
    student's gradients in the first step; difference, the largest of the student's weights at the end; moved, how far
    ours went."""
    wanted, seed = METHODS[name], derrd.SEED
    every = ours_loop.training_data(generate(), 0, "cpu")
    index = torch.arange(n)
    data = ours_loop.TrainingData(every.queries[index], every.target[:n], every.seen)
    training = ours_loop.Training(
        epochs=-(-steps // -(-n // batch)), batch_size=batch, learning_rate=derrd.RATE, weight_decay=derrd.DECAY,
        negatives=1, reduction=wanted.reduction,
    )  # fmt: skip
    model, *teachers = (derrd.fresh(dim, data, seed + k) for k, dim in enumerate(
        [derrd.DIM] + [derrd.TEACHER_DIM] * wanted.checkpoints))  # fmt: skip
    teacher = teachers[-1] if len(teachers) == 1 else Trajectories([teachers])
    with ours_loop.seeded(seed, "cpu"):
        method = wanted.settings.build(model, teacher)
    method.prepare(teacher, data)
    begin = [table.weight.detach().clone() for table in (model.user, model.item_factors)]
    shown = [table.weight.detach().clone() for table in (teachers[-1].user, teachers[-1].item_factors)]
    noise: list[Tensor] = []
    found = {"steps": 0, "loss": 0.0, "gradient": 0.0}
    mixed, ours = ours_de.gumbel_softmax, ours_loop.batch_loss

    def recorded(alpha, temperature, rng):
        again = torch.Generator().set_state(rng.get_state())
        exponential = torch.empty_like(alpha).exponential_(generator=again)
        noise.append(-exponential.clamp_(min=torch.finfo(alpha.dtype).tiny).log_())
        return mixed(alpha, temperature, rng)

    with on_cpu(wanted) as modules, contextlib.ExitStack() as stack:
        side = SIDES[name.split(" ")[0]](modules, begin, shown, method)
        optimizer = torch.optim.Adam(side.trained, lr=derrd.RATE, weight_decay=derrd.DECAY)

        def both(model, distillation, step_batch, step, reduction):
            noise.clear()
            distillation.batch = step_batch
            base, distilled = ours(model, distillation, step_batch, step, reduction)
            own = (base.sum() if reduction == "sum" else base.mean()) + distilled
            given = step_batch.queries.user, step_batch.target, step_batch.negatives[:, 0]
            theirs = side.loss(*given, noise)
            found["loss"] = max(found["loss"], float((own - theirs).abs() / theirs.abs()))
            if not found["steps"]:
                tables = [model.user.weight, model.item_factors.weight]
                pairs = zip(torch.autograd.grad(own, tables, retain_graph=True),
                            torch.autograd.grad(theirs, side.tables, retain_graph=True), strict=True)  # fmt: skip
                found["gradient"] = max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)
            found["steps"] += 1
            optimizer.zero_grad()
            theirs.backward()
            optimizer.step()
            return base, distilled

        for place in (ours_de, ours_htd, ours_pckd):
            stack.enter_context(mock.patch.object(place, "gumbel_softmax", recorded))
        stack.enter_context(mock.patch.object(ours_loop, "batch_loss", both))
        adam = ours_loop.make_optimizer(model, method, training)
        ours_loop.train(model, data, adam, training, seed=seed, distillation=method)
        tables = (model.user.weight, model.item_factors.weight)
        found["difference"] = max(float((one - two).abs().max()) for one, two in zip(tables, side.tables, strict=True))
    found["moved"] = max(float((one - before).abs().max()) for one, before in zip(tables, begin, strict=True))
    return found
