# The API and the worker in one image; the command chooses. It brings no database.

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/runtime.txt /tmp/runtime.txt
RUN python -m venv /opt/app && /opt/app/bin/pip install --require-hashes -r /tmp/runtime.txt

FROM python:3.12-slim-bookworm
ENV PATH=/opt/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 PORT=8000 ENVIRONMENT=production
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin kawan
COPY --from=build /opt/app /opt/app
WORKDIR /srv
COPY alembic.ini ./
COPY migrations migrations
COPY app app
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/livez\", timeout=2)"]
# As a worker: docker run IMAGE python -m app worker; before either: python -m app migrate.
CMD ["python", "-m", "app", "serve"]
