# What `cmake --install` gives: program, library with public headers and pkg-config file, manual,
# completion, tasks, licence. The manual and the completion come from the program's own option tables
# and belong to the target of the program: whoever has built that alone can install.

add_custom_command(TARGET cemoe POST_BUILD
    COMMAND cemoe man > ${CMAKE_CURRENT_BINARY_DIR}/cemoe.1
    COMMAND cemoe completion > ${CMAKE_CURRENT_BINARY_DIR}/cemoe.bash
    BYPRODUCTS ${CMAKE_CURRENT_BINARY_DIR}/cemoe.1 ${CMAKE_CURRENT_BINARY_DIR}/cemoe.bash
    VERBATIM)

# A static archive needs all it uses at link time: what has a pkg-config file is required by
# name, MPI, OpenMP and the mathematics library are named as the linker sees them.
# The prefix is relative to the file itself, so that `cmake --install --prefix` may choose it.
file(RELATIVE_PATH PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
list(JOIN MPI_C_LIBRARIES " " PC_MPI_LIBRARIES)
configure_file(cmake/cemoe.pc.in ${CMAKE_CURRENT_BINARY_DIR}/cemoe.pc @ONLY)

install(TARGETS cemoe libcemoe)
install(DIRECTORY include/cemoe TYPE INCLUDE FILES_MATCHING PATTERN *.h)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cemoe.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cemoe.1
    DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cemoe.bash
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME cemoe)
install(FILES LICENSE NOTICE CITATION.cff README.md CHANGELOG.md TYPE DOC)
install(DIRECTORY docs TYPE DOC FILES_MATCHING PATTERN *.md)
# Tasks, found from the program by the way to share/. The texts of one are under licences of their own.
install(DIRECTORY deploy/tasks DESTINATION ${CMAKE_INSTALL_DATADIR}/cemoe
    FILES_MATCHING PATTERN *.json PATTERN *.jsonl PATTERN README.md)
install(DIRECTORY deploy/model/LICENSES DESTINATION ${CMAKE_INSTALL_DATADIR}/cemoe/tasks)
