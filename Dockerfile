# Images of the node and the tracker:
#
#   docker build --target node --tag gpunode-node .
#   docker build --target tracker --tag gpunode-tracker .
#
# Both keep everything in the volume /data. Publish libp2p's port under the same number, TCP and UDP, and name the
# address that others see, which p2pd cannot see from inside. A tracker's HTTP is on loopback, that is inside the
# container only, until it has a certificate (or --insecure behind a proxy):
#
#   docker run -v tracker:/data -v /etc/gpunode/tls:/tls:ro -p 8470:8470 -p 4001:4001 -p 4001:4001/udp gpunode-tracker \
#     tracker start --tls-cert /tls/fullchain.pem --tls-key /tls/privkey.pem --public-url https://tracker.example:8470 \
#     --announce-address /ip4/ADDRESS/tcp/4001
#   docker run -v node:/data -p 4001:4001 -p 4001:4001/udp -e GPUNODE_BOOTSTRAP=tracker.example:8470 gpunode-node \
#     start --port 4001 --announce-address /ip4/ADDRESS/tcp/4001 --model qwen2.5-7b
#
# Which build of torch is installed depends on pip's index. For the CPU build (much smaller, enough for a tracker and
# for llama.cpp on a CPU) pass the CPU index that PyTorch's installation page names:
#
#   docker build --build-arg PIP_EXTRA_INDEX_URL=… --target tracker .
#
# For a GPU pass the index of the CUDA version that fits the driver and another --build-arg TORCH="torch==…", and start
# the container with the device: docker run --gpus all …

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS base
ENV PYTHONUNBUFFERED=1 PATH=/opt/gpunode/bin:$PATH


FROM base AS build
ARG TORCH="torch==2.13.0"
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL} PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gpunode && pip install "$TORCH"
WORKDIR /src
COPY . .


FROM build AS build-node
RUN grep -v '^torch==' constraints.txt > pins.txt && pip install --constraint pins.txt '.[node]'


FROM build AS build-tracker
RUN grep -v '^torch==' constraints.txt > pins.txt && pip install --constraint pins.txt '.[tracker]'


FROM base AS runtime
RUN useradd --create-home --uid 10001 gpunode && install -d -o gpunode -g gpunode /data
# Keys, database, outbox and models: the platform's data folder, on a volume.
ENV XDG_DATA_HOME=/data XDG_CACHE_HOME=/data/cache XDG_STATE_HOME=/data/state
VOLUME /data
USER gpunode
WORKDIR /data
# SIGTERM drains: running jobs finish and receipts are delivered before the process ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["gpunode", "--log-json"]


FROM runtime AS node
COPY --from=build-node /opt/gpunode /opt/gpunode
CMD ["start"]


FROM runtime AS tracker
COPY --from=build-tracker /opt/gpunode /opt/gpunode
EXPOSE 8470 4001 4001/udp
CMD ["tracker", "start"]
