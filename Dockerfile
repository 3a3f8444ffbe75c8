# Two images. The last, which is the default: the server and the chat page, which compose.yaml starts; SECURITY.md says
# what the server guards. The models are not in the image: compose.yaml mounts the folder that holds them.
#
#   docker compose up
#
# `grade`, in which submissions of strangers are graded: CONTRIBUTING.md, Grading, has the commands.
FROM python:3.11-slim AS library

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY minimind_lite minimind_lite
# torch first and by itself: the build for CPUs, a tenth of the size of the one for GPUs.
RUN python -m pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu

FROM library AS grade
# peft is what a check compares with. What the cells of a submission run as, may not read the masters.
RUN python -m pip install --no-cache-dir -c constraints.txt -e '.[course]' peft && mkdir notebooks
COPY exercises exercises
COPY solutions solutions
RUN chmod -R go-rwx solutions
ENV HF_HUB_OFFLINE=1
CMD ["minimind", "grade", "--help"]

FROM library AS server
RUN python -m pip install --no-cache-dir -c constraints.txt '.[serve,webui]'
RUN useradd --create-home minimind
USER minimind
ENV OMP_NUM_THREADS=2 HF_HUB_OFFLINE=1
EXPOSE 8000 8501
ENTRYPOINT ["minimind"]
CMD ["--help"]
