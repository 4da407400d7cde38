-- In a PDF of two columns, what stands in ::: wide ... ::: spans both, at a page's top or bottom.
function Div(div)
  if FORMAT == "typst" and div.classes:includes("wide") then
    local blocks = pandoc.Blocks(div.content)
    blocks:insert(1, pandoc.RawBlock("typst", '#place(auto, scope: "parent", float: true)[#set figure(placement: none)'))
    blocks:insert(pandoc.RawBlock("typst", "]"))
    return blocks
  end
end
