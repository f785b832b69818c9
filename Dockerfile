# One static binary on nothing at all.
#
#   docker build -t splashdam:dev .
#   docker run --rm splashdam:dev version
#
# A node in a container serves only that container until it is told otherwise;
# docker-compose.yml shows how.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/splashdam ./cmd/splashdam
RUN mkdir -p /out/data

FROM scratch
COPY --from=build /out/splashdam /usr/local/bin/splashdam
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /var/lib/splashdam
USER 65532:65532
VOLUME /var/lib/splashdam
# TMPDIR is where demo puts its data: there is no /tmp here.
ENV PATH=/usr/local/bin \
    TMPDIR=/var/lib/splashdam \
    SPLASHDAM_DATA=/var/lib/splashdam \
    SPLASHDAM_READY_FILE=/var/lib/splashdam/ready.json
# health finds the listeners in the ready file.
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["splashdam", "health", "-q"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["splashdam"]
CMD ["serve"]
