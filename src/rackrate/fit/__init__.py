"""Does a model fit a card? The memory of the fullest GPU as a sum of terms, each with its error.

To be read in this order:

    term         a term of the sum, its range and where it comes from
    formats, gguf_mix, precision   how numbers are stored, and which tensors a precision narrows
    declared     which precision a config declares
    parallel     what of a tensor one GPU holds
    weights      the sum over tensors
    kv           what a sequence leaves behind
    activation   what a forward pass holds for a moment
    engine, overhead   what engines and cards take for themselves
    training, backward   states of parameters, and what waits for the way back
    pipeline     images and speech
    setup        how it is run, and under which load
    estimate     which of these terms a task has
    solve, ways  the verdict, how far it would reach, what would make it fit

    cases, resolve      measured runs, and which model and card their words mean
    tools, run, predict   what a tool does by itself, how a case was run, what the model says of it
    logs                what an engine's start-up log measured

All of it is pure: no file, network or clock. Numbers of a load may be NumPy arrays.
"""
