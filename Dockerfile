# The engine's image: the API, the workers and the migrations are the same code with another command. `sandbox` adds to it
# what puts contracts and a partner on a chain that is worth nothing; no other target has it.
#
#   docker build --target engine --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) -t loan-engine:$(git rev-parse --short HEAD) .
#
# The base is a digest and every package a hash, nothing is compiled, and bytecode is told by its source's hash, not its
# time: with `--output type=image,rewrite-timestamp=true` the same commit is the same image.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base

# uv comes from a lock of its own, because it is what reads the other one.
FROM base AS packages
ARG SOURCE_DATE_EPOCH=0
ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /engine
COPY requirements/bootstrap.txt requirements/runtime.txt requirements/
RUN python -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --no-compile --only-binary :all: --require-hashes -r requirements/bootstrap.txt \
    && python -m venv --without-pip /engine/.venv \
    && /tools/bin/uv pip sync --no-config --no-cache --link-mode copy --only-binary :all: --require-hashes \
        --python /engine/.venv/bin/python requirements/runtime.txt \
    && python -m compileall -q --invalidation-mode checked-hash /engine/.venv

FROM base AS source
WORKDIR /engine
COPY alembic.ini *.py ./
COPY activities/ activities/
COPY api/ api/
COPY chain/ chain/
COPY migrations/ migrations/
COPY models/ models/
COPY metrics/ metrics/
COPY workflows/ workflows/
RUN python -m compileall -q --invalidation-mode checked-hash .

# What runs: no installer, no compiler, nothing that its user may write.
FROM base AS engine
RUN groupadd --system --gid 10001 engine \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin engine
ENV PATH=/engine/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /engine
COPY --from=packages /engine/.venv .venv
COPY --from=source /engine .
USER 10001:10001
STOPSIGNAL SIGTERM
# Of a worker; the API has another one, which docker-compose.yml names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "alive.py", "/tmp/alive"]
CMD ["python", "worker.py"]

FROM engine AS sandbox
COPY contracts/*.py contracts/
COPY contracts/artifacts/ contracts/artifacts/
COPY sandbox/*.py sandbox/
HEALTHCHECK NONE
CMD ["python", "-m", "sandbox.once"]
