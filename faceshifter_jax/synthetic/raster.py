"""Triangles to samples: a z-buffer that remembers which triangle covers a sample, and where."""

import copy

import numpy as np

from faceshifter_jax.compiled import compiled

EMPTY = -1


class Samples:
    """Square buffers of `count` x `count` samples, `times` along the side of each pixel.

    scale (3,) float32: from pixels and depth to samples and depth
    triangle (count, count) int32: the nearest triangle's number, EMPTY where there is none
    depth    (count, count) float32: larger is nearer
    weights  (count, count, 2) float32: barycentric weights of the first two corners
    """

    def __init__(self, size: int, times: int) -> None:
        count = size * times
        self.scale = np.array([times, times, 1], np.float32)
        self.triangle = np.full((count, count), EMPTY, np.int32)
        self.depth = np.full((count, count), -1e30, np.float32)
        self.weights = np.zeros((count, count, 2), np.float32)

    def draw(self, points: np.ndarray, triangles: np.ndarray, first: int, *, cull: bool) -> None:
        """Draw a mesh whose triangles are numbered from `first`.

        points (n, 3) float32: column and row in samples, and depth; `cull` leaves out triangles
        seen from behind.
        """
        fill(points, triangles, first, cull, self.triangle, self.depth, self.weights)

    def block(self, points: np.ndarray, triangles: np.ndarray) -> None:
        """Let a mesh hide what is drawn later behind it, without owning samples itself."""
        self.draw(points, triangles, 0, cull=True)
        self.triangle[:] = EMPTY

    def copy(self) -> "Samples":
        """Returns separate buffers with the same contents."""
        twin = copy.copy(self)
        twin.triangle, twin.depth = self.triangle.copy(), self.depth.copy()
        twin.weights = self.weights.copy()
        return twin

    def take_nearer(self, other: "Samples") -> None:
        """Take the samples of `other` that are nearer than those here."""
        merge(other.triangle, other.depth, other.weights, self.triangle, self.depth, self.weights)


@compiled(nogil=True, error_model="numpy")
def merge(owner, depth, weights, to_owner, to_depth, to_weights):
    """Copy the drawn samples that are nearer than those of the second three buffers."""
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            if owner[row, column] >= 0 and depth[row, column] > to_depth[row, column]:
                to_owner[row, column] = owner[row, column]
                to_depth[row, column] = depth[row, column]
                to_weights[row, column, 0] = weights[row, column, 0]
                to_weights[row, column, 1] = weights[row, column, 1]


@compiled(nogil=True, error_model="numpy")
def fill(points, triangles, first, cull, owner, depth, weights):
    """Draw triangles into the buffers of `Samples`; a sample lies at the middle of its cell."""
    size = owner.shape[0]
    one = np.float32(1.0)
    half = np.float32(0.5)
    zero = np.float32(0.0)
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # Rows grow downwards, so a triangle that faces the camera has a negative area.
        if area == zero or (cull and area > zero):
            continue
        left = max(np.int64(np.floor(min(ax, bx, cx) - half)), 0)
        right = min(np.int64(np.ceil(max(ax, bx, cx) - half)), size - 1)
        top = max(np.int64(np.floor(min(ay, by, cy) - half)), 0)
        bottom = min(np.int64(np.ceil(max(ay, by, cy) - half)), size - 1)
        if left > right or top > bottom:
            continue
        inverse = one / area
        az, bz, cz = points[a, 2], points[b, 2], points[c, 2]
        for row in range(top, bottom + 1):
            y = np.float32(row) + half
            for column in range(left, right + 1):
                x = np.float32(column) + half
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse
                if u < zero:
                    continue
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse
                w = one - u - v
                if v < zero or w < zero:
                    continue
                z = u * az + v * bz + w * cz
                if z > depth[row, column]:
                    depth[row, column] = z
                    owner[row, column] = first + k
                    weights[row, column, 0] = u
                    weights[row, column, 1] = v


@compiled(nogil=True, error_model="numpy")
def vertex_normals(vertices, triangles):
    """Unit normals (n, 3) float32, weighted by the area of the triangles around a vertex."""
    normals = np.zeros_like(vertices)
    for k in range(triangles.shape[0]):
        a, b, c = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        ex, ey = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1]
        ez = vertices[b, 2] - vertices[a, 2]
        fx, fy = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1]
        fz = vertices[c, 2] - vertices[a, 2]
        x, y, z = ey * fz - ez * fy, ez * fx - ex * fz, ex * fy - ey * fx
        for j in range(3):
            i = triangles[k, j]
            normals[i, 0] += x
            normals[i, 1] += y
            normals[i, 2] += z
    for i in range(vertices.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        scale = np.float32(1.0) / max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
        for j in range(3):
            normals[i, j] *= scale
    return normals
