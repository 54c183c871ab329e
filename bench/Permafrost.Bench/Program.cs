using Permafrost.Bench;
using Permafrost.Cli.Bench;

using var peer = new OnnxPeer();
WorkerLoop.Serve(peer.Answer);
