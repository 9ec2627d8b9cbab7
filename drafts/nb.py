"""dump NOTEBOOK -> percent text on stdout; load TXT NOTEBOOK: percent text -> notebook (keeps outputs of equal cells)."""
import sys, json, re, nbformat
def dump(path):
    nb = nbformat.read(path, 4); out = []
    for c in nb.cells:
        tags = c.metadata.get("tags", []); other = {k: v for k, v in c.metadata.items() if k not in ("tags",)}
        kind = "" if c.cell_type == "code" else f" [{c.cell_type}]"
        out.append(f"# %%{kind} id={c.id} tags={json.dumps(tags)} meta={json.dumps(other)}\n{c.source}\n")
    return "\n".join(out)
def load(txt, path):
    nb = nbformat.read(path, 4); old = {c.source: c for c in nb.cells}; cells = []
    parts = re.split(r"^# %%(?: \[(\w+)\])? id=(\S+) tags=(\[.*?\]) meta=(\{.*\})\n", open(txt).read(), flags=re.M)
    for i in range(1, len(parts), 5):
        kind, cid, tags, meta, src = parts[i:i+5]; src = src.rstrip("\n"); kind = kind or "code"
        meta = json.loads(meta); tags = json.loads(tags)
        if tags: meta["tags"] = tags
        c = nbformat.v4.new_code_cell(src) if kind == "code" else nbformat.v4.new_markdown_cell(src)
        c.id = cid; c.metadata.update(meta)
        if kind == "code" and src in old and old[src].cell_type == "code":
            c.outputs, c.execution_count = old[src].outputs, old[src].execution_count
        cells.append(c)
    assert len({c.id for c in cells}) == len(cells), "ids"
    nb.cells = cells; nbformat.validate(nb); nbformat.write(nb, path)
def stats(path):
    nb = nbformat.read(path, 4); code = [c for c in nb.cells if c.cell_type == "code"]; md = [c for c in nb.cells if c.cell_type != "code"]
    words = sum(len(re.sub(r"\$[^$]*\$|`[^`]*`|\]\([^)]*\)", " x ", c.source).split()) for c in md)
    allw = sum(len(c.source.split()) for c in md)
    lines = sorted(len([l for l in c.source.split("\n") if l.strip()]) for c in code)
    print(path, "cells", len(nb.cells), "code", len(code), "words", allw, words, "median lines", lines[len(lines)//2], "max", lines[-1])
    for c in md:
        text = re.sub(r"```.*?```", "", c.source, flags=re.S)
        for s in re.split(r"(?<=[.!?:;])\s+|\n\s*\n|\n[-|#*]|\n\d\.", text):
            if len(s.split()) > 30 and "|" not in s: print("LONG", len(s.split()), s[:150].replace("\n", " "))
if __name__ == "__main__":
    if sys.argv[1] == "dump": print(dump(sys.argv[2]))
    elif sys.argv[1] == "load": load(*sys.argv[2:4])
    else: stats(sys.argv[2])
