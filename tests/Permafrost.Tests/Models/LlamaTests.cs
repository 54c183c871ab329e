using Permafrost.Formats;
using Permafrost.Formats.Safetensors;
using Permafrost.Kernels;
using Permafrost.Models;
using Permafrost.Nn;

namespace Permafrost.Tests.Models;

/// <summary>Llama, Mistral, Qwen2 and Qwen3: what is computed fast is what is computed plainly, a cache changes nothing, and a configuration means what it means elsewhere.</summary>
public sealed class LlamaTests : IDisposable
{
    private const int B = 3, T = 9;

    private readonly DisposeScope scope = torch.NewDisposeScope();

    public void Dispose() => scope.Dispose();

    public static TheoryData<string> Decoders() =>
    [
        """ "model_type": "llama", "num_key_value_heads": 2, "attention_bias": true, "mlp_bias": true""",
        """ "model_type": "llama", "num_key_value_heads": null, "rope_scaling": {"type": "linear", "factor": 2}""",
        """ "model_type": "mistral", "num_key_value_heads": 1, "head_dim": 6, "sliding_window": 3""",
        """ "model_type": "mistral", "num_key_value_heads": 4, "sliding_window": null""",
        """ "model_type": "qwen2", "num_key_value_heads": 4, "use_sliding_window": true, "sliding_window": 2, "layer_types": ["sliding_attention", "full_attention"]""",
        """ "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 8, "attention_bias": true, "hidden_act": "gelu" """,
    ];

    [Theory]
    [MemberData(nameof(Decoders))]
    public void The_fast_path_is_the_plain_one_with_every_gradient(string keys)
    {
        using Backbone model = Model(keys);
        Tensor vectors = Vectors().requires_grad_(true), mask = LeftPadded(), weight = Vectors(2) * mask.unsqueeze(2);
        Dictionary<string, Tensor> Gradients(bool plain)
        {
            ModelOutputs output = model.Forward(new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask, PositionIds: Positions(mask), OutputAttentions: plain, OutputHiddenStates: plain));
            Segment.Backward((output.LastHiddenState * weight).sum());
            var gradients = new Dictionary<string, Tensor> { ["output"] = output.LastHiddenState.detach() * mask.unsqueeze(2), ["vectors"] = vectors.grad!.clone() };
            vectors.grad.zero_();
            foreach ((string name, Parameter parameter) in model.NamedParameters().Where(pair => pair.Name != "embed_tokens.weight"))
            {
                gradients[name] = parameter.Value.grad!.clone();
                parameter.Value.grad!.zero_();
            }
            return gradients;
        }
        Dictionary<string, Tensor> expected = Gradients(plain: true), actual = Gradients(plain: false);
        double largest = expected.Values.Max(Golden.Largest);
        foreach ((string name, Tensor tensor) in expected) Golden.Gradient(name, actual[name], tensor, largest);
    }

    [Theory]
    [MemberData(nameof(Decoders))]
    public void Tokens_that_come_piece_by_piece_give_what_the_whole_gives(string keys)
    {
        using Backbone model = Model(keys);
        Tensor vectors = Vectors(), mask = LeftPadded(), positions = Positions(mask), visible = mask.unsqueeze(2);
        ModelOutputs whole = model.Forward(new ModelInputs(InputsEmbeds: vectors, AttentionMask: mask, PositionIds: positions, OutputAttentions: true));
        foreach (bool probabilities in new[] { false, true })
        {
            using var cache = new KeyValueCache();
            foreach (int tokens in new[] { 4, 1, 1, 3 })
            {
                long first = cache.Length;
                Tensor Part(Tensor tensor) => tensor.narrow(1, first, tokens);
                ModelOutputs part = model.Forward(new ModelInputs(
                    InputsEmbeds: Part(vectors), AttentionMask: mask.narrow(1, 0, first + tokens), PositionIds: Part(positions), OutputAttentions: probabilities)
                { Cache = cache });
                Assert.Equal(first, cache.Length);
                cache.Length += tokens;
                Tensor expected = Part(whole.LastHiddenState) * Part(visible);
                Golden.Close($"tokens from {first}", part.LastHiddenState * Part(visible), expected, 1e-5 * Golden.Largest(expected));
                if (!probabilities) continue;
                Tensor rows = Part(mask).view(B, 1, tokens, 1).to(ScalarType.Float32);
                Golden.Close("probabilities", part.Attentions[1] * rows, whole.Attentions[1].narrow(2, first, tokens).narrow(3, 0, first + tokens) * rows, 1e-5);
            }
        }
    }

    [Fact]
    public void Without_padding_the_cache_tells_where_new_tokens_stand()
    {
        using Backbone model = Model(""" "model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 4""");
        Tensor vectors = Vectors(), whole = model.Forward(new ModelInputs(InputsEmbeds: vectors)).LastHiddenState;
        using var cache = new KeyValueCache();
        for (int token = 0; token < T; token++)
        {
            Tensor hidden = model.Forward(new ModelInputs(InputsEmbeds: vectors.narrow(1, token, 1)) { Cache = cache }).LastHiddenState;
            Assert.False(hidden.requires_grad);
            cache.Length++;
            Golden.Close($"token {token}", hidden, whole.narrow(1, token, 1), 1e-5 * Golden.Largest(whole));
        }
        Refusal.Of("17 tokens", () => model.Forward(new ModelInputs(InputsEmbeds: Vectors().narrow(1, 0, 8)) { Cache = cache }));
        Assert.Throws<ArgumentException>(() => model.Forward(new ModelInputs(InputsEmbeds: vectors, ReadPositions: torch.zeros([B, 1], ScalarType.Int64)) { Cache = cache }));
    }

    [Theory]
    [MemberData(nameof(Decoders))]
    public void Read_positions_are_turned_by_the_positions_that_were_given(string keys)
    {
        using Backbone model = Model(keys);
        Tensor vectors = Vectors(), read = Tensors.From([8L, 2, 5, 5, 0, 7], B, 2);
        Tensor shared = Tensors.From([.. Enumerable.Range(0, T).Select(i => (i * 5L + 3) % 16)], 1, T), own = (Positions(LeftPadded()) + 2).contiguous();
        foreach (Tensor positions in new[] { shared, own })
        {
            Tensor whole = model.Forward(new ModelInputs(InputsEmbeds: vectors, PositionIds: positions)).LastHiddenState;
            Tensor part = model.Forward(new ModelInputs(InputsEmbeds: vectors, PositionIds: positions, ReadPositions: read)).LastHiddenState;
            Golden.Close("what is read", part, whole.gather(1, read.unsqueeze(2).expand(B, 2, 16)), 1e-5 * Golden.Largest(whole));
        }
        Refusal.Of("0 to 15", () => model.Forward(new ModelInputs(InputsEmbeds: vectors, PositionIds: shared + 3)));
    }

    [Fact]
    public void The_vector_of_padding_starts_at_zero_and_learns_from_the_head_alone()
    {
        HfConfig config = Config(""" "model_type": "llama", "architectures": ["LlamaForCausalLM"], "pad_token_id": -1, "tie_word_embeddings": true""");
        using FrozenWeights weights = FrozenWeights.Draw(ModelRegistry.Find(config), config);
        Tensor drawn = weights.Copy(["embed_tokens.weight"])["embed_tokens.weight"];
        Assert.Equal(0, Golden.Largest(drawn.select(0, 10)));
        Assert.InRange(drawn.narrow(0, 0, 10).std().Number(), 0.015, 0.025);

        using Backbone model = Model(""" "model_type": "llama", "pad_token_id": 10""");
        Parameter table = model.NamedParameters().First(pair => pair.Name == "embed_tokens.weight").Parameter;
        Tensor ids = Tensors.From([1L, 10, 3, 10, 10, 2], 2, 3);
        model.EmbedTokens(ids).sum().backward();
        Assert.Equal([0f, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], table.Value.grad!.select(1, 0).ToArray<float>());
    }

    [Fact]
    public void A_configuration_of_the_newer_form_is_the_older_one()
    {
        float[] older = [.. new LlamaConfig(Config(""" "model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}""")).Frequencies];
        Assert.Equal(older, new LlamaConfig(Config(""" "model_type": "llama", "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}""")).Frequencies);
        Assert.Equal(older, new LlamaConfig(Config(""" "model_type": "llama", "rope_theta": 5e5, "rope_scaling": null, "rope_parameters": {"rope_type": "linear", "factor": 4}""")).Frequencies);
        float[] plain = [.. new LlamaConfig(Config(""" "model_type": "llama", "rope_theta": 5e5""")).Frequencies];
        Assert.Equal(plain.Select(frequency => frequency / 4), older);
        // Longer sequences would change them; there are none.
        Assert.Equal(plain, new LlamaConfig(Config(""" "model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"type": "dynamic", "factor": 2.0}""")).Frequencies);
    }

    [Fact]
    public void Defaults_are_those_of_each_family()
    {
        LlamaConfig Of(string type) => new(HfConfig.Parse($$"""{"model_type": "{{type}}"}""", "test"));
        Assert.Equal((32, 128, 11008, 2048, false), (Of("llama").KeyHeads, Of("llama").HeadSize, Of("llama").Inner, Of("llama").Positions, Of("llama").QueryBias));
        Assert.Equal((8, 128, 14336, 131072, 4096), (Of("mistral").KeyHeads, Of("mistral").HeadSize, Of("mistral").Inner, Of("mistral").Positions, Of("mistral").Windows[31]));
        Assert.Equal((32, 22016, 32768, true, false), (Of("qwen2").KeyHeads, Of("qwen2").Inner, Of("qwen2").Positions, Of("qwen2").QueryBias, Of("qwen2").OutputBias));
        Assert.Equal((151936, 128, true, false), (Of("qwen3").VocabSize, Of("qwen3").HeadSize, Of("qwen3").HeadNorms, Of("qwen3").QueryBias));
        foreach (string type in new[] { "llama", "mistral", "qwen2", "qwen3" }) Assert.Equal((1e-6, false), (Of(type).Epsilon, Of(type).TiedHead));
    }

    [Theory]
    [InlineData(""" "model_type": "llama", "sliding_window": 4""", null, null)]
    [InlineData(""" "model_type": "mistral" """, 4096, 4096)]
    [InlineData(""" "model_type": "mistral", "sliding_window": 4""", 4, 4)]
    [InlineData(""" "model_type": "qwen2", "sliding_window": 4""", null, null)]
    [InlineData(""" "model_type": "qwen2", "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]""", null, null)]
    [InlineData(""" "model_type": "qwen2", "sliding_window": 4, "use_sliding_window": true""", null, null)]
    [InlineData(""" "model_type": "qwen3", "sliding_window": 4, "use_sliding_window": true, "max_window_layers": 0""", 4, 4)]
    [InlineData(""" "model_type": "qwen3", "sliding_window": null, "use_sliding_window": true, "max_window_layers": 0""", null, null)]
    [InlineData(""" "model_type": "qwen2", "sliding_window": 4, "use_sliding_window": true, "max_window_layers": 1""", null, 4)]
    [InlineData(""" "model_type": "qwen2", "sliding_window": 4, "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"]""", 4, null)]
    public void Windows_are_where_the_family_has_them(string keys, int? first, int? second) =>
        Assert.Equal([first, second], new LlamaConfig(Config(keys + """, "num_key_value_heads": 2, "head_dim": 4""")).Windows);

    [Theory]
    [InlineData("\"num_attention_heads\": 3", "not a multiple of num_attention_heads (3)")]
    [InlineData("\"num_key_value_heads\": 3", "num_key_value_heads (3)")]
    [InlineData("\"num_key_value_heads\": 8", "num_key_value_heads (8)")]
    [InlineData("\"head_dim\": 5", "head_dim")]
    [InlineData("\"hidden_act\": \"magic\"", "'magic'")]
    [InlineData("\"rms_norm_eps\": 0", "rms_norm_eps is 0")]
    [InlineData("\"attention_dropout\": 1", "attention_dropout is 1")]
    [InlineData("\"rope_theta\": -1", "rope_theta is -1")]
    [InlineData("\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}", "test, rope_scaling: the rope_type 'yarn' is not known")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", "rope_scaling: factor is 0")]
    [InlineData("\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": -2}", "rope_scaling: factor is -2")]
    [InlineData("\"rope_scaling\": {\"type\": \"linear\"}", "rope_scaling has no \"factor\"")]
    [InlineData("\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 4, \"high_freq_factor\": 1}", "low_freq_factor is 4")]
    [InlineData("\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}", "rope_parameters differs by the kind of layer")]
    [InlineData("\"rope_scaling\": 2", "rope_scaling")]
    [InlineData("\"partial_rotary_factor\": 0.5", "partial_rotary_factor is 0.5")]
    [InlineData("\"vocab_size\": 100000000", "beyond anything")]
    [InlineData("\"pad_token_id\": 11", "pad_token_id is 11")]
    [InlineData("\"quantization_config\": {\"quant_method\": \"awq\"}", "quantised (awq)")]
    [InlineData("\"model_type\": \"mistral\", \"num_key_value_heads\": 2, \"sliding_window\": 0", "sliding_window")]
    [InlineData("\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"use_sliding_window\": true, \"layer_types\": [\"full_attention\"]", "layer_types names 1 layers")]
    [InlineData("\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"use_sliding_window\": true, \"layer_types\": [\"full_attention\", 1]", "layer_types")]
    [InlineData("\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"use_sliding_window\": true, \"layer_types\": [\"full_attention\", \"linear\"]", "'linear'")]
    public void A_configuration_that_cannot_be_is_refused_with_its_key(string key, string expected) =>
        Refusal.Of(expected, () => ModelRegistry.CreateWithHead(Config(key.Contains("model_type", StringComparison.Ordinal) ? key : $"\"model_type\": \"llama\", {key}")));

    [Theory]
    [InlineData("tinyllama-1.1b", 1_100_048_384)]
    [InlineData("llama-3.2-1b", 1_235_814_400)]
    [InlineData("llama-3-8b", 8_030_261_248)]
    [InlineData("mistral-7b", 7_241_732_096)]
    [InlineData("qwen2-0.5b", 494_032_768)]
    [InlineData("qwen2.5-1.5b", 1_543_714_304)]
    [InlineData("qwen3-0.6b", 596_049_920)]
    public void The_presets_have_their_published_sizes(string name, long elements)
    {
        using PretrainedModel model = ModelRegistry.CreateWithHead(ModelRegistry.Presets.Single(preset => preset.Name == name).Config);
        Assert.Equal(elements, model.NamedParameters().Sum(pair => pair.Parameter.Elements));
    }

    [Fact]
    public void A_padded_prompt_goes_on_as_it_does_alone()
    {
        HfConfig config = Config(""" "model_type": "mistral", "architectures": ["MistralForCausalLM"], "num_key_value_heads": 2, "sliding_window": 3""");
        using PretrainedModel model = ModelRegistry.CreateWithHead(config);
        Draw(model);
        Tensor ids = Tensors.From([0L, 0, 0, 7, 2, 5, 1, 4, 9, 3], 2, 5), mask = Tensors.From([0L, 0, 0, 1, 1, 1, 1, 1, 1, 1], 2, 5);
        long[] Generated(Tensor prompt, Tensor? mask)
        {
            var inputs = new Dictionary<string, Tensor> { ["input_ids"] = prompt };
            if (mask is not null) inputs["attention_mask"] = mask;
            return model.Generate(inputs, 6).ToArray<long>();
        }
        long[] together = Generated(ids, mask);
        Assert.Equal(Generated(Tensors.From([7L, 2], 1, 2), null), together[3..11]);
        Assert.Equal(Generated(ids.narrow(0, 1, 1), null), together[11..]);
        Refusal.Of("16 positions", () => model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = ids }, 12));
        Refusal.Of("half a token", () => Generated(ids, mask * 2));
    }

    [Fact]
    public void A_checkpoint_in_pieces_with_its_buffers_loads_with_head_and_without()
    {
        using var folder = new TemporaryFolder();
        string json = Config(""" "model_type": "llama", "architectures": ["LlamaForCausalLM"]""").ToJson();
        folder.Write(Path.Combine("body", "config.json"), json);
        var config = HfConfig.Load(folder["body"]);
        using PretrainedModel written = ModelRegistry.CreateWithHead(config), read = ModelRegistry.CreateWithHead(config);
        Draw(written);
        Dictionary<string, Tensor> weights = written.NamedParameters().ToDictionary(pair => pair.Name, pair => pair.Parameter.Value.detach());
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros([2]);
        string[] names = [.. weights.Keys], files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        foreach ((string file, int number) in files.Select((file, number) => (file, number)))
            SafetensorsWriter.Write(folder["body", file], names.Where((_, i) => i % 2 == number).ToDictionary(name => name, name => weights[name]));
        string map = string.Join(", ", names.Select((name, i) => $"\"{name}\": \"{files[i % 2]}\""));
        folder.Write(Path.Combine("body", "model.safetensors.index.json"), $"{{\"weight_map\": {{{map}}}}}");

        CheckpointReader.Load(read, ModelRegistry.Find(config), read.Prefix, folder["body"]);
        Assert.Contains(read.NamedParameters(), pair => pair.Name == "lm_head.weight");
        Assert.All(read.NamedParameters(), pair => Assert.True(pair.Parameter.Value.ValuesEqual(weights[pair.Name]), pair.Name));
        using Backbone body = Bodies.Load(folder["body"], "pretrained");
        Assert.All(body.NamedParameters(), pair => Assert.True(pair.Parameter.Value.ValuesEqual(weights[$"model.{pair.Name}"]), pair.Name));
    }

    [Fact]
    public void A_model_without_a_head_cannot_generate()
    {
        using PretrainedModel model = ModelRegistry.CreateWithHead(Config(""" "model_type": "llama" """));
        Refusal.Of("cannot generate", () => model.Generate(new Dictionary<string, Tensor> { ["input_ids"] = torch.zeros([1, 2], ScalarType.Int64) }, 1));
    }

    private static HfConfig Config(string keys)
    {
        var defaults = new List<string>();
        foreach ((string key, int value) in new[]
        {
            ("hidden_size", 16), ("num_hidden_layers", 2), ("num_attention_heads", 4), ("intermediate_size", 24), ("max_position_embeddings", 16), ("vocab_size", 11),
        })
            if (!keys.Contains($"\"{key}\"", StringComparison.Ordinal)) defaults.Add($"\"{key}\": {value}");
        return HfConfig.Parse($"{{{string.Join(", ", defaults)}, {keys}}}", "test");
    }

    private static Backbone Model(string keys)
    {
        HfConfig config = Config(keys);
        Backbone model = ModelRegistry.Find(config).Backbone(config);
        Draw(model);
        return model;
    }

    private static void Draw(Permafrost.Nn.Module model)
    {
        using var random = new Generator(7);
        foreach ((_, Parameter parameter) in model.NamedParameters())
        {
            parameter.Value = torch.empty(parameter.Shape).normal_(0.1, 0.4, random);
            parameter.Value.requires_grad = true;
        }
    }

    private static Tensor Vectors(ulong seed = 1)
    {
        using var random = new Generator(seed);
        return torch.empty([B, T, 16]).normal_(0, 1, random);
    }

    private static Tensor LeftPadded()
    {
        Tensor mask = torch.ones([B, T], ScalarType.Int64);
        mask[0].narrow(0, 0, 3).zero_();
        mask[1].narrow(0, 0, 1).zero_();
        return mask;
    }

    private static Tensor Positions(Tensor mask) => (mask.cumsum(1) - 1).clamp_min(0);
}
