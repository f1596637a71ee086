# The notebook choose_a_gpu.ipynb for marimo, with a model to pick: marimo edit choose_a_gpu_marimo.py

import marimo

app = marimo.App()


@app.cell
def _():
    import os

    import marimo as mo

    import rackrate

    os.environ["RACKRATE_NOW"] = "2026-08-22T12:00:00+00:00"  # the day of the sample that ships with Rackrate
    return mo, rackrate


@app.cell
def _(mo):
    model = mo.ui.dropdown(["llama-3.1-8b", "llama-3.1-70b"], value="llama-3.1-8b", label="model")
    model
    return (model,)


@app.cell
def _(model, rackrate):
    fit = rackrate.fits(model.value, "l40s", context="8k", concurrency=8)
    fit.plot()
    return (fit,)


@app.cell
def _(rackrate):
    price = rackrate.price("l40s", history="30d")
    price.plot()
    return (price,)


@app.cell
def _(model, rackrate):
    plan = rackrate.plan(model.value, rps=1, ttft="1s", tpot="50ms", limit=5)
    plan
    return (plan,)


if __name__ == "__main__":
    app.run()
