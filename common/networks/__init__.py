"""Backbones, heads, U-Nets, LoRA, and their pretrained weights."""
