# Made protocol2.bin and protocol4.bin beside this file: python3 streams.py
# What torch.save does (torch/serialization.py, _save), with tensors of a stand-in that reduces to the same names; the pickling is Python's own.
import io, pickle, struct, sys, types, zipfile
from collections import OrderedDict
torch=types.ModuleType("torch"); utils=types.ModuleType("torch._utils"); sys.modules["torch"]=torch; sys.modules["torch._utils"]=utils; torch._utils=utils
def fn(name):
    def f(*a): raise SystemError
    f.__name__=f.__qualname__=name; f.__module__="torch._utils"; setattr(utils,name,f); return f
rebuild=fn("_rebuild_tensor_v2"); param=fn("_rebuild_parameter")
class FloatStorage: pass
class HalfStorage: pass
class LongStorage: pass
for c in (FloatStorage,HalfStorage,LongStorage):
    c.__module__="torch"; setattr(torch,c.__name__,c)
class Storage:
    def __init__(s,t,key,data,n): s.t,s.key,s.data,s.n=t,key,data,n
class T:
    def __init__(s,st,off,size,stride): s.a=(st,off,size,stride)
    def __reduce_ex__(s,p): return (rebuild,(*s.a,False,OrderedDict()))
class P:
    def __init__(s,t): s.t=t
    def __reduce_ex__(s,p): return (param,(s.t,True,OrderedDict()))
class Sz(tuple):
    def __reduce__(s): return (Sz,(tuple(s),))
Sz.__name__=Sz.__qualname__="Size"; Sz.__module__="torch"; torch.Size=Sz
f=lambda *x: struct.pack("<%df"%len(x),*x)
s0=Storage(FloatStorage,"0",f(*range(6)),6); s1=Storage(HalfStorage,"1",struct.pack("<3e",1.5,-2,0.25),3); s2=Storage(LongStorage,"2",struct.pack("<2q",-1,1<<40),2)
class Pk(pickle.Pickler):
    def persistent_id(self,o):
        if isinstance(o,Storage): return ("storage",o.t,o.key,"cpu",o.n)
def save(obj,storages,proto,folder,compress=zipfile.ZIP_STORED):
    b=io.BytesIO(); Pk(b,proto).dump(obj)
    z=io.BytesIO()
    with zipfile.ZipFile(z,"w",compress) as w:
        w.writestr(f"{folder}/data.pkl",b.getvalue()); w.writestr(f"{folder}/byteorder","little")
        for s in storages: w.writestr(f"{folder}/data/{s.key}",s.data)
        w.writestr(f"{folder}/version","3\n"); w.writestr(f"{folder}/.data/serialization_id","0123")
    return z.getvalue()
d=OrderedDict(); t=T(s0,0,(2,3),(3,1)); d["wte.weight"]=P(t); d["lm_head.weight"]=T(s0,0,(2,3),(3,1)); d["turned"]=T(s0,0,(3,2),(1,3)); d["part"]=T(s0,4,(2,),(1,)); d["half"]=T(s1,0,(3,),(1,)); d["ids"]=T(s2,0,(1,2),(2,1)); d["scalar"]=T(s0,5,(),())
d._metadata=OrderedDict([("",{"version":1}),("wte",{"version":1})])
for name,obj,proto in (("Protocol2",d,2),("Protocol4",{"epoch":3,"lr":1e-3,"name":"x"*300,"shape":Sz((2,3)),"seen":{1,2},"state_dict":d,"optimizer":{"state":{0:{"step":T(s0,5,(),())}}}},4)):
    x=save(obj,[s0,s1,s2],proto,"archive" if proto==2 else "pytorch_model")
    open(name.lower()+".bin","wb").write(x); print(name, len(x))
