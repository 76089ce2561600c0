# Included by llama.cpp's own project() call (CMAKE_PROJECT_llama.cpp_INCLUDE).
# llama-cpp-python switches the "common" library on, which nothing in the wheel uses and which is
# two thirds of the compile; a plain variable set here wins over that cache entry.
set(LLAMA_BUILD_COMMON OFF)
