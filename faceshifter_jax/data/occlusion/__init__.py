"""Occlusions laid over faces while training HEAR-Net."""
