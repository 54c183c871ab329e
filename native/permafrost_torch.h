// The whole contract between C# and libtorch: one function that calls any ATen operator through the dispatcher, and the few things around
// it that are not operators (host memory, metadata, autograd, random state, threads, devices).
//
// Every function that can fail returns 0 on success and 1 on failure; pf_last_error() then holds one UTF-8 message for this thread.
// Handles are owned by the caller and released with the matching *_free. No C++ exception crosses this boundary.
#ifndef PERMAFROST_TORCH_H
#define PERMAFROST_TORCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PF_API __attribute__((visibility("default")))

// Raised whenever a signature below changes; C# refuses a library with another number.
#define PF_ABI_VERSION 4

typedef struct pf_tensor pf_tensor;        // an at::Tensor
typedef struct pf_operator pf_operator;    // a c10::OperatorHandle; lives as long as the process
typedef struct pf_generator pf_generator;  // an at::Generator

typedef enum {
    PF_NONE = 0,
    PF_TENSOR = 1,       // as.p: pf_tensor*, or null for an absent optional tensor
    PF_INT = 2,          // also dtypes, layouts and memory formats
    PF_DOUBLE = 3,
    PF_BOOL = 4,
    PF_STRING = 5,       // as.p: UTF-8, length bytes
    PF_INT_LIST = 6,     // as.p: int64_t[length]
    PF_DOUBLE_LIST = 7,  // as.p: double[length]
    PF_BOOL_LIST = 8,    // as.p: int64_t[length], 0 or 1
    PF_TENSOR_LIST = 9,  // as.p: pf_tensor*[length]
    PF_GENERATOR = 10,   // as.p: pf_generator*
    PF_DEVICE = 11,      // as.i: type << 8 | (index + 1), index -1 for "current"
    PF_DEFAULT = 12      // take the schema's default
} pf_kind;

typedef struct {
    int32_t kind;
    int32_t length;
    union {
        int64_t i;
        double d;
        const void* p;
    } as;
} pf_value;

// dtype: c10::ScalarType. device_type: c10::DeviceType (0 CPU, 1 CUDA). data: address of the first element (CPU only, else null).
typedef struct {
    int64_t elements;
    void* data;
    int32_t dimensions;
    int32_t dtype;
    int32_t device_type;
    int32_t device_index;
    int32_t element_size;
    int32_t contiguous;
    int32_t requires_grad;
    int32_t is_leaf;
} pf_tensor_info;

// core.cpp
PF_API int32_t pf_abi_version(void);
PF_API const char* pf_last_error(void);
PF_API const char* pf_torch_version(void);                        // of the headers this was built with
PF_API int pf_torch_config(char* buffer, int64_t capacity);       // at::show_config(), truncated
PF_API int pf_blas_info(char* buffer, int64_t capacity);          // OpenBLAS build, chosen core and threads; empty when it is another BLAS

// operators.cpp
PF_API int pf_operator_find(const char* name, const char* overload, pf_operator** result);
// Missing trailing arguments take the schema's defaults. At most `capacity` results are written, further ones are released;
// PF_TENSOR_LIST results are arrays to be released with pf_list_free after their tensors were taken over; PF_STRING results likewise.
PF_API int pf_operator_call(const pf_operator* op, const pf_value* arguments, int32_t count, pf_value* results, int32_t capacity, int32_t* produced);
PF_API void pf_list_free(void* list);

// tensor.cpp
PF_API int pf_tensor_from_host(const void* data, int64_t bytes, const int64_t* shape, int32_t dimensions, int32_t dtype, pf_tensor** result);
PF_API int pf_tensor_over_host(void* data, int64_t bytes, const int64_t* shape, int32_t dimensions, int32_t dtype, pf_tensor** result);  // no copy: the memory stays the caller's
PF_API int pf_tensor_to_host(const pf_tensor* tensor, void* data, int64_t bytes);
PF_API int pf_tensor_describe(const pf_tensor* tensor, pf_tensor_info* info, int64_t* shape, int32_t capacity);
PF_API void pf_tensor_free(pf_tensor* tensor);
PF_API int64_t pf_tensor_live(void);                              // handles not yet freed, in the whole process

// autograd.cpp
PF_API int pf_backward(const pf_tensor* tensor, const pf_tensor* gradient);
PF_API int pf_gradient(const pf_tensor* tensor, pf_tensor** result);          // null when there is none
PF_API int pf_gradient_set(const pf_tensor* tensor, const pf_tensor* gradient);
PF_API int pf_requires_grad_set(const pf_tensor* tensor, int32_t value);
PF_API int32_t pf_grad_mode(void);
PF_API void pf_grad_mode_set(int32_t enabled);

// checkpoint.cpp: runs a segment without recording it, and again when its gradient is wanted. The segment owns the handles it is given (update may
// be null), writes two of its own, which the caller frees, and returns 0, or 1 after pf_error_set. `release` is called once, when nothing needs it any more.
typedef int (*pf_segment)(void* state, pf_tensor* stream, pf_tensor* update, pf_tensor** outputs);
typedef void (*pf_segment_release)(void* state);
PF_API int pf_checkpoint(pf_segment run, pf_segment_release release, void* state, const pf_tensor* stream, const pf_tensor* update, pf_tensor** results);
PF_API void pf_error_set(const char* message);

// random.cpp: a null generator means the device's default one
PF_API int pf_generator_new(uint64_t seed, pf_generator** result);
PF_API void pf_generator_free(pf_generator* generator);
PF_API int pf_random_seed(uint64_t seed);                         // every device's default generator
PF_API int pf_random_state(const pf_generator* generator, int32_t device_type, int32_t device_index, pf_tensor** result);
PF_API int pf_random_state_set(const pf_generator* generator, int32_t device_type, int32_t device_index, const pf_tensor* state);

// device.cpp
PF_API int32_t pf_threads(void);
PF_API int pf_threads_set(int32_t threads);
PF_API int32_t pf_cuda_devices(void);
PF_API int pf_deterministic_set(int32_t enabled);
PF_API int pf_synchronize(int32_t device_type, int32_t device_index);

#ifdef __cplusplus
}
#endif

#endif
