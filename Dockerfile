# The server and the chat page in one image; compose.yaml starts both. See SECURITY.md for what the server guards.
#
#   docker compose up
#
# The models are not in the image: compose.yaml mounts the folder that holds them.
FROM python:3.11-slim

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY minimind_lite minimind_lite
# torch first and by itself: the build for CPUs, a tenth of the size of the one for GPUs.
RUN python -m pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu \
    && python -m pip install --no-cache-dir -c constraints.txt '.[serve,webui]'

RUN useradd --create-home minimind
USER minimind
ENV OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1
EXPOSE 8000 8501
ENTRYPOINT ["minimind"]
CMD ["--help"]
