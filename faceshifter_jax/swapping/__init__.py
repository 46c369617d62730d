"""From photographs to swapped photographs: find faces, align them, swap, paste them back.

Points are (x, y) in pixels from the picture's upper left corner: the pixel in column i covers x
from i to i + 1, so its centre is at i + 0.5. Points scale with a picture by a mere factor.
"""
