import sys, time, cProfile, pstats
def test_a(project):
    project.probe("logic")
    project.run("--co","-q")
    before=set(sys.modules)
    project.write("conftest.py", "import sys\nbefore=set(sys.modules)\ndef pytest_sessionfinish():\n    print('NEW', sorted(set(sys.modules)-before)[:400], len(set(sys.modules)-before))\n")
    p=cProfile.Profile(); p.enable()
    project.run("-k", "max", "--ablate-heads","-s")
    p.disable(); pstats.Stats(p).sort_stats("cumtime").print_stats(60)
    assert 0
