# The package for CPUs, and with --build-arg EXTRAS=cuda,swap for NVIDIA's GPUs: jax[cuda13] brings
# CUDA's libraries, of the host it needs the driver and NVIDIA's container toolkit alone.
#
#   docker build -t faceshifter .
#   docker run --rm -v "$PWD:/work" faceshifter swap -s me.jpg -t friend.jpg -o swap.png \
#       --checkpoint runs/hear
#
#   docker build -t faceshifter:cuda --build-arg EXTRAS=cuda,swap .
#   docker run --rm --gpus all -v "$PWD:/work" faceshifter:cuda train --config aei \
#       --workdir runs/aei --config.data.path=data/photos
FROM python:3.13-slim AS build
ARG EXTRAS=swap
COPY . /source
RUN python -m venv /opt/faceshifter \
    && /opt/faceshifter/bin/pip install --no-cache-dir -c /source/constraints.txt "/source[${EXTRAS}]"

FROM python:3.13-slim
COPY --from=build /opt/faceshifter /opt/faceshifter
ENV PATH=/opt/faceshifter/bin:$PATH PYTHONUNBUFFERED=1
# Compiled kernels go to the home folder, which a user without one (docker run --user) lacks.
ENV NUMBA_CACHE_DIR=/tmp/numba HOME=/tmp
WORKDIR /work
ENTRYPOINT ["faceshifter"]
CMD ["--help"]
