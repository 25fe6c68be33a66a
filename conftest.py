"""How a repository sets its own defaults for the probes.

Options go into the ini file (``probe_model = gpt2`` under ``[tool.pytest.ini_options]``); what only Python can say
goes here. A model in memory, for example::

    @pytest.fixture(scope="session")
    def probe_model():
        return my_model, my_tokenizer

A dataset of your own needs no line here: copy a module of ``probes/`` and name your file in ``@rp.probe(...)``.
"""
