// The door: any operator of the dispatcher, by name. Arguments are matched to the operator's schema, so that C# need not know
// whether a number is wanted as int, float or Scalar, or a list as Tensor[] or Tensor?[].
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <cstdlib>
#include <cstring>
#include <sstream>

#include "internal.h"

struct pf_operator {
    c10::OperatorHandle handle;
};

namespace permafrost {

namespace {

c10::TypeKind kind_of(const c10::TypePtr& type) { return type->kind(); }

c10::TypePtr without_optional(c10::TypePtr type) {
    while (kind_of(type) == c10::TypeKind::OptionalType) type = type->castRaw<c10::OptionalType>()->getElementType();
    return type;
}

bool wants_float(const c10::TypePtr& type) { return kind_of(type) == c10::TypeKind::FloatType; }

c10::IValue tensor_list(const pf_value& value, const c10::TypePtr& element) {
    auto* const* handles = static_cast<pf_tensor* const*>(value.as.p);
    if (kind_of(element) == c10::TypeKind::OptionalType) {
        c10::List<c10::optional<at::Tensor>> list;
        list.reserve(value.length);
        for (int32_t i = 0; i < value.length; i++) list.push_back(handles[i] ? c10::optional<at::Tensor>(unwrap(handles[i])) : c10::nullopt);
        return list;
    }
    c10::List<at::Tensor> list;
    list.reserve(value.length);
    for (int32_t i = 0; i < value.length; i++) list.push_back(unwrap(handles[i]));
    return list;
}

template <typename T>
c10::IValue number_list(const T* numbers, int32_t length, const c10::TypePtr& element) {
    if (wants_float(element)) {
        c10::List<double> list;
        for (int32_t i = 0; i < length; i++) list.push_back(static_cast<double>(numbers[i]));
        return list;
    }
    if (kind_of(element) == c10::TypeKind::NumberType) {
        c10::List<at::Scalar> list;
        for (int32_t i = 0; i < length; i++) list.push_back(at::Scalar(numbers[i]));
        return list;
    }
    c10::List<int64_t> list;
    list.reserve(length);
    for (int32_t i = 0; i < length; i++) list.push_back(static_cast<int64_t>(numbers[i]));
    return list;
}

c10::IValue to_ivalue(const pf_value& value, const c10::Argument& argument) {
    const c10::TypePtr type = without_optional(argument.type());
    const bool list = kind_of(type) == c10::TypeKind::ListType;
    const c10::TypePtr element = list ? type->castRaw<c10::ListType>()->getElementType() : type;
    switch (value.kind) {
        case PF_NONE:
            return c10::IValue();
        case PF_TENSOR:
            return value.as.p ? c10::IValue(unwrap(static_cast<const pf_tensor*>(value.as.p))) : c10::IValue();
        case PF_INT:
            if (list) return number_list(&value.as.i, 1, element);
            return wants_float(type) ? c10::IValue(static_cast<double>(value.as.i)) : c10::IValue(value.as.i);
        case PF_DOUBLE:
            if (list) return number_list(&value.as.d, 1, element);
            return c10::IValue(value.as.d);
        case PF_BOOL:
            return c10::IValue(value.as.i != 0);
        case PF_STRING:
            return c10::IValue(std::string(static_cast<const char*>(value.as.p), value.length));
        case PF_INT_LIST:
            return number_list(static_cast<const int64_t*>(value.as.p), value.length, element);
        case PF_DOUBLE_LIST:
            return number_list(static_cast<const double*>(value.as.p), value.length, element);
        case PF_BOOL_LIST: {
            c10::List<bool> flags;
            for (int32_t i = 0; i < value.length; i++) flags.push_back(static_cast<const int64_t*>(value.as.p)[i] != 0);
            return flags;
        }
        case PF_TENSOR_LIST:
            return tensor_list(value, element);
        case PF_GENERATOR:
            return value.as.p ? c10::IValue(unwrap(static_cast<const pf_generator*>(value.as.p))) : c10::IValue();
        case PF_DEVICE:
            return c10::IValue(make_device(static_cast<int32_t>(value.as.i >> 8), static_cast<int32_t>(value.as.i & 255) - 1));
        default:
            TORCH_CHECK(false, "argument '", argument.name(), "' has the unknown kind ", value.kind);
    }
}

pf_value to_value(const c10::IValue& value) {
    pf_value result{};
    if (value.isTensor()) {
        result.kind = PF_TENSOR;
        result.as.p = value.toTensor().defined() ? wrap(value.toTensor()) : nullptr;
    } else if (value.isInt()) {
        result.kind = PF_INT;
        result.as.i = value.toInt();
    } else if (value.isDouble()) {
        result.kind = PF_DOUBLE;
        result.as.d = value.toDouble();
    } else if (value.isBool()) {
        result.kind = PF_BOOL;
        result.as.i = value.toBool();
    } else if (value.isTensorList()) {
        const auto list = value.toTensorVector();
        auto** handles = static_cast<pf_tensor**>(std::malloc(std::max<size_t>(1, list.size()) * sizeof(pf_tensor*)));
        if (!handles) throw std::bad_alloc();
        for (size_t i = 0; i < list.size(); i++) handles[i] = list[i].defined() ? wrap(list[i]) : nullptr;
        result.kind = PF_TENSOR_LIST;
        result.length = static_cast<int32_t>(list.size());
        result.as.p = handles;
    } else if (value.isString()) {
        const std::string& text = value.toStringRef();
        auto* copy = static_cast<char*>(std::malloc(std::max<size_t>(1, text.size())));
        if (!copy) throw std::bad_alloc();
        std::memcpy(copy, text.data(), text.size());
        result.kind = PF_STRING;
        result.length = static_cast<int32_t>(text.size());
        result.as.p = copy;
    } else if (!value.isNone()) {
        TORCH_CHECK(false, "a result of type ", value.tagKind(), " cannot be returned");
    }
    return result;
}

void describe_tensor(std::ostream& out, const pf_tensor* handle) {
    if (!handle) {
        out << "none";
        return;
    }
    const at::Tensor& tensor = unwrap(handle);
    out << tensor.scalar_type() << tensor.sizes();
    if (!tensor.device().is_cpu()) out << "@" << tensor.device();
}

// "Float[2, 3], Long[4], 1, 0.5": what a bug report needs to see of a failed call.
std::string describe_arguments(const pf_value* arguments, int32_t count) {
    std::ostringstream out;
    for (int32_t i = 0; i < count; i++) {
        if (i) out << ", ";
        const pf_value& value = arguments[i];
        switch (value.kind) {
            case PF_TENSOR: describe_tensor(out, static_cast<const pf_tensor*>(value.as.p)); break;
            case PF_INT: out << value.as.i; break;
            case PF_DOUBLE: out << value.as.d; break;
            case PF_BOOL: out << (value.as.i ? "true" : "false"); break;
            case PF_STRING: out << '\'' << std::string(static_cast<const char*>(value.as.p), value.length) << '\''; break;
            case PF_INT_LIST: out << c10::IntArrayRef(static_cast<const int64_t*>(value.as.p), value.length); break;
            case PF_DOUBLE_LIST: out << c10::ArrayRef<double>(static_cast<const double*>(value.as.p), value.length); break;
            case PF_TENSOR_LIST:
                out << '[';
                for (int32_t t = 0; t < value.length && t < 8; t++) {
                    if (t) out << ", ";
                    describe_tensor(out, static_cast<pf_tensor* const*>(value.as.p)[t]);
                }
                out << (value.length > 8 ? ", ...]" : "]");
                break;
            case PF_GENERATOR: out << "generator"; break;
            case PF_DEVICE: out << make_device(static_cast<int32_t>(value.as.i >> 8), static_cast<int32_t>(value.as.i & 255) - 1); break;
            default: out << "none"; break;
        }
    }
    return out.str();
}

void push_arguments(torch::jit::Stack& stack, const c10::FunctionSchema& schema, const pf_value* arguments, int32_t count) {
    const auto& declared = schema.arguments();
    TORCH_CHECK(static_cast<size_t>(count) <= declared.size(), "takes ", declared.size(), " arguments and was given ", count);
    stack.reserve(declared.size());
    for (size_t i = 0; i < declared.size(); i++) {
        if (static_cast<int32_t>(i) < count && arguments[i].kind != PF_DEFAULT) {
            stack.push_back(to_ivalue(arguments[i], declared[i]));
        } else {
            TORCH_CHECK(declared[i].default_value().has_value(), "needs the argument '", declared[i].name(), "'");
            stack.push_back(*declared[i].default_value());
        }
    }
}

}  // namespace

}  // namespace permafrost

int pf_operator_find(const char* name, const char* overload, pf_operator** result) {
    return permafrost::guarded([&] {
        const auto found = c10::Dispatcher::singleton().findSchema({name, overload});
        TORCH_CHECK(found.has_value(), "this libtorch (", pf_torch_version(), ") has no operator ", name, *overload ? "." : "", overload);
        *result = new pf_operator{*found};
    });
}

int pf_operator_call(const pf_operator* op, const pf_value* arguments, int32_t count, pf_value* results, int32_t capacity, int32_t* produced) {
    *produced = 0;
    try {
        torch::jit::Stack stack;
        permafrost::push_arguments(stack, op->handle.schema(), arguments, count);
        op->handle.callBoxed(&stack);
        for (const c10::IValue& value : stack) {
            if (*produced == capacity) break;
            results[*produced] = permafrost::to_value(value);
            ++*produced;
        }
        return 0;
    } catch (...) {
        // The message first: describing the arguments may itself fail, and must not hide it.
        std::string message = permafrost::describe_exception();
        try {
            message += "\n" + permafrost::describe_arguments(arguments, count);
        } catch (...) {
        }
        permafrost::set_error(message);
        return 1;
    }
}

void pf_list_free(void* list) { std::free(list); }
