"""GPT-2 in plain PyTorch, as a peer to measure against. Two compositions of the same function:

hf     operator for operator what GPT2Model of Hugging Face transformers 4.30 calls; what most people run
tuned  what a careful PyTorch user would write

Module and parameter names are Hugging Face's, so that its files load by name. All parameters start trainable; fpt.py freezes.
"""

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Optional

import numpy
import torch
from torch import nn
from torch.nn import functional

COMPOSITIONS = ("hf", "tuned")


@dataclass
class Config:
    n_layer: int = 12
    n_embd: int = 768
    n_head: int = 12
    n_positions: int = 1024
    n_inner: Optional[int] = None  # None: 4 * n_embd
    vocab: int = 50257  # 0: no token table
    eps: float = 1e-5
    dropout: float = 0.1  # embeddings, attention probabilities and residuals alike, as in GPT-2's own configuration


def read_safetensors(path):
    """Tensors over the mapped file, as the safetensors package gives them: a page is read when it is touched, and copied only when written to."""
    data = numpy.memmap(path, mode="c")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    types = {"F32": numpy.float32, "F16": numpy.float16, "I64": numpy.int64, "U8": numpy.uint8, "BOOL": numpy.bool_}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data, types[entry["dtype"]], math.prod(entry["shape"]), start + begin) if end > begin else numpy.empty(0, types[entry["dtype"]])
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]))
    return tensors


class Conv1D(nn.Module):
    """A linear map whose weight is stored (in, out), as GPT-2's files have it. The same in both compositions."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(x.shape[:-1] + self.bias.shape)


class HfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.n_head
        self.dropout = config.dropout
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        # One mask buffer in each layer: Hugging Face has it so, and it is part of the memory.
        n = config.n_positions
        self.register_buffer("bias", torch.tril(torch.ones((n, n), dtype=torch.bool)).view(1, 1, n, n), persistent=False)

    def split_heads(self, x):
        return x.view(x.shape[:-1] + (self.heads, x.size(-1) // self.heads)).permute(0, 2, 1, 3)

    def forward(self, x, mask, presents):
        query, key, value = self.c_attn(x).split(x.size(-1), dim=2)
        query, key, value = self.split_heads(query), self.split_heads(key), self.split_heads(value)
        presents.append((key, value))  # use_cache is on by default, in training too

        scores = torch.matmul(query, key.transpose(-1, -2))
        scores = scores / torch.full([], value.size(-1) ** 0.5, dtype=scores.dtype, device=scores.device)
        queries, keys = query.size(-2), key.size(-2)
        causal = self.bias[:, :, keys - queries:keys, :keys]
        lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype).to(scores.device)
        scores = torch.where(causal, scores.to(scores.dtype), lowest)
        if mask is not None:
            scores = scores + mask
        probabilities = functional.softmax(scores, dim=-1).type(value.dtype)
        probabilities = functional.dropout(probabilities, self.dropout, self.training)

        y = torch.matmul(probabilities, value).permute(0, 2, 1, 3).contiguous()
        y = self.c_proj(y.view(y.shape[:-2] + (x.size(-1),)))
        return functional.dropout(y, self.dropout, self.training)


class TunedAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.n_head
        self.dropout = config.dropout
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x, mask, padded):
        batch, tokens, width = x.shape
        size = width // self.heads
        qkv = self.c_attn(x).view(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        if mask is None:
            query, key, value = qkv.unbind(0)
            y = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        else:
            # bmm needs batch and heads as one dimension, hence this one copy. The scale and the mask ride along in the product.
            query, key, value = qkv.reshape(3, batch * self.heads, tokens, size).unbind(0)
            scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=1 / math.sqrt(size))
            if padded:
                # A padded query that sees no key gets equal probabilities. The future must then be cut off from the gradient too.
                scores = torch.where(torch.ones_like(mask, dtype=torch.bool).triu(1), mask, scores)
            probabilities = functional.dropout(torch.softmax(scores, dim=-1), dropout)
            y = torch.bmm(probabilities, value).view(batch, self.heads, tokens, size)
        y = self.c_proj(y.transpose(1, 2).reshape(batch, tokens, width))
        return functional.dropout(y, dropout)


class HfMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = config.n_inner or 4 * config.n_embd
        self.dropout = config.dropout
        self.c_fc = Conv1D(config.n_embd, inner)
        self.c_proj = Conv1D(inner, config.n_embd)

    def activation(self, x):  # NewGELUActivation
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))

    def forward(self, x):
        return functional.dropout(self.c_proj(self.activation(self.c_fc(x))), self.dropout, self.training)


class TunedMlp(HfMlp):
    def activation(self, x):
        return functional.gelu(x, approximate="tanh")


class Block(nn.Module):
    def __init__(self, config, composition):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.eps)
        self.attn = HfAttention(config) if composition == "hf" else TunedAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.eps)
        self.mlp = HfMlp(config) if composition == "hf" else TunedMlp(config)

    def forward(self, x, *attention_arguments):
        x = self.attn(self.ln_1(x), *attention_arguments) + x
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    def __init__(self, config, composition, loading=False):
        """loading: start values that a file replaces are drawn only where the composition's own way of loading does so."""
        super().__init__()
        if composition not in COMPOSITIONS:
            raise ValueError(f"composition is {composition!r}, not one of {COMPOSITIONS}")
        self.config = config
        self.composition = composition
        embedding = partial(nn.utils.skip_init, nn.Embedding) if loading and composition == "tuned" else nn.Embedding
        self.wte = embedding(config.vocab, config.n_embd) if config.vocab else None
        self.wpe = embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config, composition) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.eps)
        self.causal = torch.empty(0, 0)  # tuned: the additive mask of the last length seen
        for name, parameter in self.named_parameters():
            # from_pretrained of 4.30 leaves out the model's own scheme, but its Conv1D draws in the constructor, as nn.Embedding does.
            if "ln_" not in name and not (loading and (composition == "tuned" or name.startswith("w"))):
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=0.02)

    def load(self, folder):
        """Weights of a folder in Hugging Face's layout. Mask buffers of old files and an unwanted token table are skipped, nothing else."""
        tensors = {name.removeprefix("transformer."): tensor for name, tensor in read_safetensors(Path(folder) / "model.safetensors").items()}
        skipped = {f"h.{i}.attn.{name}" for i in range(self.config.n_layer) for name in ("bias", "masked_bias")} | {"lm_head.weight"}
        skipped |= set() if self.wte else {"wte.weight"}
        self.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in skipped})

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, position_ids=None, states=None):
        """The last hidden state. states: a list that gets all of them, after the embeddings, after each layer, the last one after the final norm."""
        x = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        x, *arguments = (self.embed_hf if self.composition == "hf" else self.embed_tuned)(x, attention_mask, position_ids)
        for block in self.h:
            if states is not None:
                states.append(x)
            x = block(x, *arguments)
        x = self.ln_f(x)
        if states is not None:
            states.append(x)
        return x

    def embed_hf(self, x, attention_mask, position_ids):
        tokens = x.size(1)
        if position_ids is None:
            position_ids = torch.arange(0, tokens, dtype=torch.long, device=x.device).unsqueeze(0).view(-1, tokens)
        mask = None
        if attention_mask is not None:
            mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        return functional.dropout(x + self.wpe(position_ids), self.config.dropout, self.training), mask, []

    def embed_tuned(self, x, attention_mask, position_ids):
        tokens = x.size(1)
        positions = self.wpe.weight[:tokens] if position_ids is None else self.wpe(position_ids)
        mask = self.tuned_mask(tokens, x, attention_mask)
        return functional.dropout(x + positions, self.config.dropout, self.training), mask, attention_mask is not None

    def tuned_mask(self, tokens, x, attention_mask):
        """None: plain causal attention, which the fused operator of torch 2.0 and later does by itself."""
        if attention_mask is None and hasattr(functional, "scaled_dot_product_attention"):
            return None
        if self.causal.size(0) != tokens:
            # The lowest number and not -inf: rows of padded queries then come out as Hugging Face's do, and never NaN.
            self.causal = torch.full((tokens, tokens), torch.finfo(x.dtype).min, dtype=x.dtype, device=x.device).triu(1)
        if attention_mask is None:
            return self.causal
        padding = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        return (self.causal + padding).expand(-1, self.config.n_head, -1, -1).flatten(0, 1)
