# How every file of the project is compiled.

set(CMAKE_EXPORT_COMPILE_COMMANDS ON) # for clang-tidy

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
    -Wpointer-arith -Wcast-qual -Wcast-align -Wwrite-strings -Wstrict-prototypes
    -Wmissing-prototypes -Wundef -Wvla -Wformat=2 -Wdouble-promotion -Wswitch-enum
    -Wimplicit-fallthrough)
if(CMAKE_C_COMPILER_ID STREQUAL Clang)
  # clang takes the use of INFINITY in a double for a mistake; gcc looks at the rest.
  add_compile_options(-Wno-double-promotion)
endif()
if(CE_WERROR)
  add_compile_options(-Werror)
endif()

# The bits of a result are part of the contract: no contraction behind our back.
add_compile_options(-ffp-contract=off)
add_compile_definitions(_GNU_SOURCE)

# Assertions stay on in release builds: they are few and cost nothing next to the arithmetic.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O3 -g")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")

# A program loads only the libraries it calls.
add_link_options(-Wl,--as-needed)

if(CE_SANITIZE)
  # UBSan must end the program, or a test that meets it would still pass.
  # Files and lines are what a report needs; more of -g doubles the time of linking.
  add_compile_options(-fsanitize=${CE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${CE_SANITIZE})
else()
  # With the sanitizers' own branches in the code this one sees null pointers everywhere.
  add_compile_options(-Wnull-dereference)
endif()
if(CE_FUZZ)
  # The library must report its coverage, or the fuzzer searches blindly.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
