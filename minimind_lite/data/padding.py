"""Documents side by side in a rectangle: for pairs and rollouts, which must stay one to a row."""

from collections.abc import Sequence

import torch
from torch import Tensor

from minimind_lite.data.documents import Document
from minimind_lite.data.packing import IGNORE


def pad_documents(documents: Sequence[Document]) -> dict[str, Tensor]:
    """One document a row, padding on the right, targets shifted by one as in `packing`.

    Returns int64 ``input_ids`` (padding 0) and ``targets`` (IGNORE where not trained), each (documents, longest - 1).
    With causal attention no real token can see padding that stands to its right, so no mask is needed.
    """
    width = max(len(document) for document in documents) - 1
    input_ids = torch.zeros(len(documents), width, dtype=torch.int64)
    targets = torch.full((len(documents), width), IGNORE)
    for row, document in enumerate(documents):
        ids = torch.from_numpy(document.ids.astype("int64"))
        input_ids[row, : len(ids) - 1] = ids[:-1]
        learned = ids[1:]
        if document.loss_mask is not None:
            learned = learned.masked_fill(torch.from_numpy(document.loss_mask[1:]) == 0, IGNORE)
        targets[row, : len(ids) - 1] = learned
    return {"input_ids": input_ids, "targets": targets}
