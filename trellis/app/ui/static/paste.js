// Ctrl+V anywhere on the page puts a copied picture into the picture field.
document.addEventListener("paste", async (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
  if (!file) return;
  event.preventDefault();
  document.querySelector("#picture button[aria-label='Remove Image']")?.click(); // the field is gone while it is full
  for (let tries = 0; tries < 40; tries += 1) {
    const field = document.querySelector("#picture input[type=file]");
    if (field) {
      const copied = new DataTransfer();
      copied.items.add(file);
      field.files = copied.files;
      field.dispatchEvent(new Event("change", { bubbles: true }));
      return;
    }
    await new Promise((resume) => setTimeout(resume, 50));
  }
});
