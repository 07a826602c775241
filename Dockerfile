# The sidecar in a container: built with everything, run with nothing but Python, our packages and compiled kernels.
#
#   docker build -t volstream .
#   docker run --rm -p 127.0.0.1:8765:8765 -v "$PWD/secrets:/run/secrets:ro" volstream
#
# docs/deploying.md has the rest: tokens, TLS, limits, what is written where.

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE MANIFEST.in ./
COPY pricer pricer
COPY surfaces surfaces
COPY adapters adapters
# An environment of its own moves into the second stage as one folder; the build's packages are pinned, too. What
# installs stays behind: nothing is installed in a container that runs.
RUN python -m venv /opt/volstream \
    && PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
       /opt/volstream/bin/pip install --constraint constraints.txt ".[server,record,fast]" \
    && /opt/volstream/bin/pip uninstall --yes setuptools pip

FROM python:3.11-slim-bookworm
# A number, not a name, so that a cluster can see that it is not root.
RUN groupadd --gid 10001 volstream \
    && useradd --no-log-init --uid 10001 --gid volstream --shell /usr/sbin/nologin \
       --home-dir /var/lib/volstream --create-home volstream \
    && install --directory --owner volstream --group volstream --mode 0700 /var/cache/volstream
COPY --from=build /opt/volstream /opt/volstream
COPY deploy/volstream.toml /etc/volstream/volstream.toml
COPY deploy/healthcheck.py /opt/volstream/healthcheck.py
ENV PATH=/opt/volstream/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VOLSTREAM_CACHE_DIR=/var/cache/volstream
USER 10001:10001
WORKDIR /var/lib/volstream
# Compiled here, so that a start takes a second and needs no writable folder. Code is tied to the processor it was
# compiled on: on another one it is compiled again at the first start.
RUN volstream warmup
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "/opt/volstream/healthcheck.py"]
ENTRYPOINT ["volstream"]
CMD ["serve", "--config", "/etc/volstream/volstream.toml"]
