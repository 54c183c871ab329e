"""The Frozen Pretrained Transformer around gpt2.py: a new input layer, the frozen body, a new output layer, and one training step.

Names and order of operations are those of the paper's code (kzl/universal-computation); its class is what the fixtures were made with.
"""

import torch
from torch import nn
from torch.nn import functional

POLICIES = ("fpt", "full")


class FPT(nn.Module):
    def __init__(self, backbone, input_dim, output_dim, tokens_in=False, last=1, dropout=0.1, policy="fpt"):
        """tokens_in: the inputs are ids below input_dim, else vectors of input_dim numbers. last: how many final tokens are read out."""
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(f"policy is {policy!r}, not one of {POLICIES}")
        width = backbone.config.n_embd
        self.last = last
        if tokens_in:
            self.in_net = nn.Embedding(input_dim, width)
        else:
            linear = nn.Linear(input_dim, width)
            nn.init.orthogonal_(linear.weight, gain=1.41)
            nn.init.zeros_(linear.bias)
            self.in_net = nn.Sequential(linear, nn.Dropout(dropout))
        self.sequence_model = backbone
        self.out_net = nn.Sequential(nn.Linear(width, output_dim))
        for name, parameter in self.named_parameters():
            parameter.requires_grad = trains(name, policy)

    def forward(self, x):
        state = self.sequence_model(inputs_embeds=self.in_net(x))
        return self.out_net(state[:, -self.last:])

    def trained(self):
        return [parameter for parameter in self.parameters() if parameter.requires_grad]


def trains(name, policy):
    if "wte" in name:  # vectors are fed, so the token table is never reached
        return False
    return policy == "full" or "in_net" in name or "out_net" in name or "ln_" in name or "wpe" in name


def make_optimizer(model):
    return torch.optim.Adam(model.trained(), lr=1e-3)


def loss_of(model, x, y):
    """Cross entropy; the logits of a sample are shared out evenly among its targets."""
    return functional.cross_entropy(model(x).reshape(y.numel(), -1), y.reshape(-1))


def train_step(model, optimizer, x, y, clip=1.0):
    """Returns the loss and the gradient norm before clipping. clip None: do not clip (and the norm is None)."""
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(model, x, y)
    loss.backward()
    norm = None if clip is None else nn.utils.clip_grad_norm_(model.trained(), clip)
    optimizer.step()
    return loss.detach(), norm
