"""Faces in pictures: found, aligned and warped; points are (x, y) in pixels."""
