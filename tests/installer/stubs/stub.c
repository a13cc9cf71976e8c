/* A Windows program that wine lacks (curl, tar, certutil), as a Python file of the same name in C:\stubs. */
#include <windows.h>
#include <wchar.h>

int wmain(void) {
    wchar_t own[MAX_PATH], line[32768];
    GetModuleFileNameW(NULL, own, MAX_PATH);
    wchar_t *name = wcsrchr(own, L'\\') + 1;
    *wcsrchr(name, L'.') = 0;
    wchar_t *rest = GetCommandLineW();
    int quoted = 0;
    while (*rest && (quoted || *rest != L' ')) quoted ^= *rest++ == L'"';
    swprintf(line, 32768, L"C:\\Python311\\python.exe -I C:\\stubs\\%ls.py%ls", name, rest);
    STARTUPINFOW start = {sizeof start};
    PROCESS_INFORMATION process;
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &process)) return 99;
    WaitForSingleObject(process.hProcess, INFINITE);
    DWORD code = 98;
    GetExitCodeProcess(process.hProcess, &code);
    return (int)code;
}
