# Recipes for people who work on Revgauge. CI is .ci/run.

# Formatting, lints, house rules and the light tests.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test -p revgauge-testkit

# Everything the README's test command runs.
test:
    cargo test --workspace

# Crash test at 50 instants, 10,000 random queries after marks of others, more simulation seeds, real SDKs and real data, release benchmarks.
slow:
    cargo build --release
    tests/slow/run

# Every table of docs/MODELS.md and docs/FORECAST.md: win models and series on the public sets below FOLDER, forecasts and scores of
# simulated organisations, then speed on made-up deals.
models FOLDER:
    cargo build --release
    target/release/revgauge models suite {{FOLDER}}
    target/release/revgauge backtest --suite m3 {{FOLDER}}
    target/release/revgauge backtest --suite simulator
    target/release/revgauge backtest --suite scores
    target/release/revgauge models speed

# Accept new snapshots.
accept:
    REVGAUGE_ACCEPT=1 INSTA_UPDATE=always cargo test --workspace

# Where the build time goes.
timings:
    cargo build --timings
