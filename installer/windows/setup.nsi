; The setup program: for one user, without administrator's rights, in a folder of its own.
;   makensis -DSTAGE=folder -DFILES=files.nsh -DOUTPUT=setup.exe -DVERSION=0.1.0 -DSIZE_KB=60000 -DHERE=. setup.nsi
; STAGE holds what is installed; FILES deletes exactly that again (build.sh writes both). What the program made
; (outputs, its Python environment) is asked about or known by name: no folder is ever removed as a whole that the user
; might have chosen for something else.
Target amd64-unicode ; as the program, which needs 64-bit Windows
SetCompressor /SOLID lzma
RequestExecutionLevel user
ManifestDPIAware true

!include "MUI2.nsh"
!include "LogicLib.nsh"
!include "FileFunc.nsh"

!define NAME "TRELLIS desktop"
!define PROGRAM "TRELLIS.exe"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\TrellisDesktop"

Name "${NAME}"
OutFile "${OUTPUT}"
InstallDir "$LOCALAPPDATA\Programs\${NAME}"
InstallDirRegKey HKCU "${KEY}" "InstallLocation"
BrandingText "${NAME} ${VERSION}"
VIProductVersion "${VERSION}.0"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "FileDescription" "${NAME} setup"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "LegalCopyright" "MIT License"

!define MUI_ICON "${STAGE}/assets/icon.ico"
!define MUI_UNICON "${STAGE}/assets/icon.ico"
!define MUI_WELCOMEFINISHPAGE_BITMAP "${HERE}/welcome.bmp"
!define MUI_UNWELCOMEFINISHPAGE_BITMAP "${HERE}/welcome.bmp"
!define MUI_ABORTWARNING
!define MUI_FINISHPAGE_RUN "$INSTDIR\${PROGRAM}"
!define MUI_FINISHPAGE_RUN_TEXT "Start ${NAME} (the first start installs what is needed)"
!define MUI_WELCOMEPAGE_TEXT "A picture in, a textured 3D asset out.$\r$\n$\r$\nThe first start fetches Python packages (0.5 to 4 GB, by the graphics card) into the program's own folder. Nothing else on this computer is changed, and no administrator's rights are needed.$\r$\n$\r$\nClick Next to go on."
!insertmacro MUI_PAGE_WELCOME
!insertmacro MUI_PAGE_LICENSE "${STAGE}/LICENSE"
!define MUI_PAGE_CUSTOMFUNCTION_LEAVE CheckFolder
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"
!insertmacro MUI_LANGUAGE "Korean"
!insertmacro MUI_LANGUAGE "SimpChinese"

; A folder that holds other things gets a folder of the program's own in it.
Function CheckFolder
  IfFileExists "$INSTDIR\${PROGRAM}" done
  ${DirState} "$INSTDIR" $0
  ${If} $0 == 1
    StrCpy $INSTDIR "$INSTDIR\${NAME}"
    MessageBox MB_OKCANCEL|MB_ICONINFORMATION "That folder is in use. The program goes into:$\r$\n$INSTDIR" /SD IDOK IDOK done
    Abort
  ${EndIf}
  done:
FunctionEnd

!macro REFUSE_WHILE_RUNNING
  ; A program that runs cannot be written to.
  ${If} ${FileExists} "$INSTDIR\${PROGRAM}"
    ClearErrors
    FileOpen $0 "$INSTDIR\${PROGRAM}" a
    ${If} ${Errors}
      MessageBox MB_ICONSTOP "${NAME} is running. Close it and start again." /SD IDOK
      SetErrorLevel 4
      Quit
    ${EndIf}
    FileClose $0
  ${EndIf}
!macroend

Section "Program"
  Call CheckFolder
  !insertmacro REFUSE_WHILE_RUNNING
  ; An earlier version goes first, but for what it made: packages that are still right are not fetched again.
  ${If} ${FileExists} "$INSTDIR\uninstall.exe"
    DetailPrint "Removing the earlier version"
    ExecWait '"$INSTDIR\uninstall.exe" /S /KEEP _?=$INSTDIR'
  ${EndIf}
  SetOutPath "$INSTDIR"
  File /r "${STAGE}/*"
  WriteUninstaller "$INSTDIR\uninstall.exe"
  CreateDirectory "$SMPROGRAMS\${NAME}"
  CreateShortcut "$SMPROGRAMS\${NAME}\${NAME}.lnk" "$INSTDIR\${PROGRAM}" "" "$INSTDIR\assets\icon.ico"
  CreateShortcut "$SMPROGRAMS\${NAME}\Uninstall.lnk" "$INSTDIR\uninstall.exe"
  CreateShortcut "$DESKTOP\${NAME}.lnk" "$INSTDIR\${PROGRAM}" "" "$INSTDIR\assets\icon.ico"
  WriteRegStr HKCU "${KEY}" "DisplayName" "${NAME}"
  WriteRegStr HKCU "${KEY}" "DisplayVersion" "${VERSION}"
  WriteRegStr HKCU "${KEY}" "DisplayIcon" "$INSTDIR\assets\icon.ico"
  WriteRegStr HKCU "${KEY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
  WriteRegStr HKCU "${KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
  WriteRegDWORD HKCU "${KEY}" "EstimatedSize" ${SIZE_KB}
  WriteRegDWORD HKCU "${KEY}" "NoModify" 1
  WriteRegDWORD HKCU "${KEY}" "NoRepair" 1
SectionEnd

Section "Uninstall"
  !insertmacro REFUSE_WHILE_RUNNING
  ${GetParameters} $1
  ClearErrors
  ${GetOptions} $1 "/KEEP" $2
  ${If} ${Errors}
    ; What the program installed and noted for itself.
    RMDir /r "$INSTDIR\.venv"
    RMDir /r "$INSTDIR\.state"
    ; The user's own results stay unless the user says otherwise; a silent removal keeps them.
    ${If} ${FileExists} "$INSTDIR\outputs\*.*"
      MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 "Delete the assets you made too?$\r$\n$INSTDIR\outputs" /SD IDNO IDNO keep
      RMDir /r "$INSTDIR\outputs"
      keep:
    ${EndIf}
    Delete "$DESKTOP\${NAME}.lnk"
    RMDir /r "$SMPROGRAMS\${NAME}"
    DeleteRegKey HKCU "${KEY}"
  ${EndIf}
  !include "${FILES}"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
SectionEnd
