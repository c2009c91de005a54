"""One thread of torch: tiny models gain nothing by more, and threads of a busy machine wait."""

import torch

torch.set_num_threads(1)
