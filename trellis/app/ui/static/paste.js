// Ctrl+V anywhere on the page adds copied pictures to the picture field.
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])].filter((item) => item.type.startsWith("image/"));
  const field = document.querySelector("#pictures input[type=file]");
  if (!files.length || !field) return;
  event.preventDefault();
  const copied = new DataTransfer();
  for (const file of files) copied.items.add(file);
  field.files = copied.files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
});
