"""The released later methods, ready to be trained: one function a repository gives their loss of a batch, on weights, lists
and noise that are given.

Their training loops ask for a GPU and for data folders, so the sum of base loss and distillation is written here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from unittest import mock

import torch
from parity import official
from parity.official import fed
from parity.vectors import Vectors
from torch import Tensor, nn

from rdcore.distill import FTDSettings


@dataclass
class Side:
    """A released method that is ready to be trained."""

    trained: list[Tensor]
    tables: tuple[Tensor, Tensor]
    """The student's users and items."""
    loss: Callable[[Tensor, Tensor, Tensor, list[Tensor]], Tensor]
    """Of users, positives, negatives and our noise of the step."""


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
    """HetComp's two losses: of the authors' class HetComp_MF, whose loop gives it each user of a batch once, or of the
    port's, which sums over rows and doubles the early one. What is taught to whom is ours."""
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
            users = user.unique()
            given = users, method.positives[users], method.top[users], mask[users]
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
