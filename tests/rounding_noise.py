"""Parameters whose gradients are nothing but rounding noise.

Some parameters have no effect: a bias right before a normalisation that takes it away again.
Their gradient is 0 but for rounding, which depends on the order of summation, and Adam turns
the sign of that into a step of the whole learning rate. They are named here and must be the
only ones left out, with the running means that take them away again in evaluation; that they
have no effect shows in the metrics, which are compared too.
"""

WITHOUT_EFFECT = {
    "aei": r"\['start_bias'\]|\['discriminator'\]\['scale_\d'\]\['conv_1'\]\['bias'\]",
    "hear": r"\['(down_\d|up_\d|full_size)'\]\['bias'\]"
    r"|^batch_stats.*\['(down_norm_\d|up_norm_\d|full_size_norm)'\]\['norm'\]\['mean'\]",
    "arcface": r"\['(norm_3|shortcut_norm|out_norm)'\]\['norm'\]\['bias'\]"
    r"|\['embedding'\]\['bias'\]"
    r"|^batch_stats.*\['(norm_1|shortcut_norm|out_norm|embedding_norm)'\]\['norm'\]\['mean'\]",
}
