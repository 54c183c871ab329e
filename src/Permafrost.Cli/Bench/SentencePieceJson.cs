using System.Text.Json.Nodes;
using Google.Protobuf;

namespace Permafrost.Cli.Bench;

/// <summary>
/// A Unigram model of SentencePiece's (sentencepiece_model.proto, ModelProto) as the tokenizer.json that Hugging Face's library reads: its pieces with their scores, and its map
/// of characters, with the steps of T5's fast tokenizer (transformers, convert_slow_tokenizer.py, SpmConverter).
/// </summary>
internal static class SentencePieceJson
{
    private const int Unknown = 2;

    public static JsonObject Of(string path)
    {
        (var pieces, byte[] map, int unknown) = (new JsonArray(), [], 0);
        Fields(File.ReadAllBytes(path), (field, input) =>
        {
            if (field is not (1 or 3)) return false;
            byte[] message = input.ReadBytes().ToByteArray();
            if (field == 3) map = Map(message);
            else
            {
                (string text, float score, int type) = Piece(message);
                if (type == Unknown) unknown = pieces.Count;
                pieces.Add(new JsonArray(text, (double)score));
            }
            return true;
        });
        return new JsonObject
        {
            ["normalizer"] = new JsonObject { ["type"] = "Precompiled", ["precompiled_charsmap"] = Convert.ToBase64String(map) },
            ["pre_tokenizer"] = new JsonObject { ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = "always" },
            ["model"] = new JsonObject { ["type"] = "Unigram", ["unk_id"] = unknown, ["vocab"] = pieces },
        };
    }

    private static (string Text, float Score, int Type) Piece(byte[] message)
    {
        (string text, float score, int type) = ("", 0, 1);
        Fields(message, (field, input) =>
        {
            if (field == 1) text = input.ReadString();
            else if (field == 2) score = input.ReadFloat();
            else if (field == 3) type = input.ReadInt32();
            return field is 1 or 2 or 3;
        });
        return (text, score, type);
    }

    private static byte[] Map(byte[] message)
    {
        byte[] map = [];
        Fields(message, (field, input) =>
        {
            if (field != 2) return false;
            map = input.ReadBytes().ToByteArray();
            return true;
        });
        return map;
    }

    // Takes a field's number and reads it, or leaves it.
    private static void Fields(byte[] message, Func<int, CodedInputStream, bool> read)
    {
        using var input = new CodedInputStream(message);
        for (uint tag; (tag = input.ReadTag()) != 0;)
            if (!read(WireFormat.GetTagFieldNumber(tag), input)) input.SkipLastField();
    }
}
