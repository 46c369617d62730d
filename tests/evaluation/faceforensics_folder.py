"""A small folder of the layout of FaceForensics++, made of rendered faces."""

import json

import av
import numpy as np

from faceshifter_jax.synthetic import render, sample_attributes, sample_identity

VIDEO_SIZE, LENGTH = 96, 12
NAMES = ("000", "003", "012", "026")


def make_folder(top):
    """Four videos and their pairs; three frames of the last one are black."""
    for who, name in enumerate(NAMES):
        scene = sample_attributes(who, occluder="none")
        picture = render(sample_identity(who), scene, VIDEO_SIZE)
        frames = [np.clip(picture.astype(int) + 2 * k, 0, 255) for k in range(LENGTH)]
        if name == "026":
            frames[:3] = [np.zeros_like(frames[0])] * 3
        encode(video_of(top, name), [frame.astype(np.uint8) for frame in frames])
    (top / "splits").mkdir()
    (top / "splits" / "test.json").write_text(json.dumps([["000", "003"], ["012", "026"]]))
    return top


def encode(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height = frames[0].shape[1::-1]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def video_of(root, name):
    return root / "original_sequences" / "youtube" / "c23" / "videos" / f"{name}.mp4"
