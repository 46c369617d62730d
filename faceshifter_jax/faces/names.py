"""What of faces is chosen by name, known without loading anything: alignments and detectors."""

DEFAULT_ALIGNMENT = "arcface"
ALIGNMENT_NAMES = ("arcface", "arcface-tight", "taotaonice", "insightface-0.2", "ffhq")
"""The keys of `faces.alignment.ALIGNMENTS`."""

DEFAULT_DETECTOR = "blazeface"
DETECTORS = {
    "blazeface": "faceshifter_jax.faces.blaze_detector:BlazeFaceDetector",
    "mtcnn": "faceshifter_jax.faces.mtcnn_detector:MTCNNDetector",
}
"""Name -> module:class of a `Detector` that is made without arguments, or with `small_faces`."""
