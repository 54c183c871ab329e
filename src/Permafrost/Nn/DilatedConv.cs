namespace Permafrost.Nn;

/// <summary>
/// A depthwise convolution whose taps stand <c>dilation</c> tokens apart, so that a layer of k of them covers 1 + dilation (k - 1) tokens (Yu and Koltun 2016; of the convolutions
/// of Tay et al. 2021 the one without a softmax). Shape: (B, T, C) to the same.
/// </summary>
internal sealed class DilatedConv(long width, long kernel, bool causal, long dilation, bool bias = false) : DepthwiseConv(width, new TapWindow(kernel, causal, dilation), bias);
