"""A model for the released distillations whose own models ask for a data folder."""

from __future__ import annotations

from types import SimpleNamespace

from torch import Tensor, nn


class Vectors(nn.Module):
    """What the released distillations ask of a model."""

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
