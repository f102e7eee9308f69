"""Buffers against bandwidth: how much SRAM a wider DRAM interface is worth."""
