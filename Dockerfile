# The engine's image: the API, the worker and the migrations are the same code with another command.
FROM python:3.13-slim AS build
WORKDIR /engine
COPY requirements/ requirements/
# uv comes from a lock of its own, because it is what reads the other one.
RUN python -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --require-hashes -r requirements/bootstrap.txt \
    && python -m venv /engine/.venv \
    && /tools/bin/uv pip sync --no-config --python /engine/.venv/bin/python --require-hashes --no-cache requirements/runtime.txt

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home engine
WORKDIR /engine
COPY --from=build /engine/.venv /engine/.venv
COPY alembic.ini audit.py operate.py schedules.py settings.py startup.py telemetry.py wiring.py worker.py ./
COPY migrations/ migrations/
COPY models/ models/
COPY chain/ chain/
COPY metrics/ metrics/
COPY activities/ activities/
COPY workflows/ workflows/
COPY api/ api/
ENV PATH=/engine/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER engine
CMD ["python", "worker.py"]
