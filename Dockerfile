# routerd as a container: built from the hash-locked dependencies, those of every provider included, run without root, its state in /data.
# Give it a configuration at /etc/routerd/router.yaml, and a volume for /data.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/routerd
ENV PATH=/opt/routerd/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements-image.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements-image.lock
# Build tools stay in this stage, in an environment of their own.
COPY requirements-build.lock ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY router router
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheels . && pip install --no-deps --no-index /wheels/*.whl

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /data routerd && install -d -o routerd -g routerd -m 0700 /data
COPY --from=build /opt/routerd /opt/routerd
COPY router.example.yaml /etc/routerd/router.yaml
ENV PATH=/opt/routerd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROUTER_CONFIG_FILE=/etc/routerd/router.yaml \
    ROUTER_SERVER_LISTEN=0.0.0.0:8080
USER routerd
# The default database is data/router.db below the working directory.
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["routerd"]
